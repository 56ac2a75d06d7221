"""The mirror and its worktrees: what they hold, what agents cannot do to them, and what survives a kill."""

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import CouldNotRun, Missing, Refused, SettingsError, Unavailable
from pipeline.model import Conflict, Rebased
from pipeline.ports import Workspace
from pipeline.projects import Project
from tests.pipeline.clients.origin import ARTIFACTS, BRANCH, ITEM, Origin, change, git, write


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    origin = Origin(tmp_path)
    origin.create()
    return origin


@pytest.fixture
def workspace(origin: Origin) -> GitWorkspace:
    workspace = origin.workspace()
    workspace.fetch()
    return workspace


def mirror(origin: Origin) -> Path:
    return origin.base / "state/repos/WID.git"


def test_it_fills_the_port(workspace: GitWorkspace) -> None:
    port: Workspace = workspace
    assert port.worktrees() == ()


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_fetching_tells_the_default_branch_as_it_is_now(origin: Origin, workspace: GitWorkspace) -> None:
    assert workspace.fetch() == origin.tip()
    moved = origin.commit({"more.txt": "x"})
    assert workspace.fetch() == moved


def test_a_branch_that_is_gone_on_the_remote_is_gone_after_a_fetch(origin: Origin, workspace: GitWorkspace) -> None:
    pushed = origin.commit({"a": "a"}, branch=BRANCH)
    workspace.fetch()
    assert workspace.remote_tip(BRANCH) == pushed
    git(origin.bare, "branch", "-D", BRANCH)
    workspace.fetch()
    assert workspace.remote_tip(BRANCH) is None


def test_a_repository_that_does_not_exist_is_missing(origin: Origin) -> None:
    with pytest.raises(Missing, match="team/app does not exist"):
        origin.workspace(url=str(origin.base / "nothing.git")).fetch()


def test_a_repository_without_the_default_branch_is_told_so(origin: Origin) -> None:
    git(origin.base, "init", "-q", "--bare", "empty.git")
    with pytest.raises(Missing, match="no branch main"):
        origin.workspace(url=str(origin.base / "empty.git")).fetch()


def test_a_password_in_the_url_is_refused() -> None:
    project = Project(key="WID", plane_project=UUID(int=1), repository="team/app", test_command=("true",))
    with pytest.raises(SettingsError, match="password"):
        GitWorkspace(project, root=Path(), url="http://me:pw@forge/team/app.git", credentials={}, home=Path())


def test_a_half_made_mirror_is_made_again(origin: Origin, workspace: GitWorkspace) -> None:
    (mirror(origin) / "HEAD").unlink()
    (origin.base / "state/repos/WID.git.new").mkdir()
    assert workspace.fetch() == origin.tip()


def test_locks_that_a_killed_git_left_in_the_mirror_are_broken(origin: Origin, workspace: GitWorkspace) -> None:
    moved = origin.commit({"more.txt": "x"})
    for name in ("refs/remotes/origin/main.lock", "packed-refs.lock"):
        (mirror(origin) / name).touch()
        os.utime(mirror(origin) / name, (0, 0))
    assert workspace.fetch() == moved


# --- worktrees --------------------------------------------------------------------------------------------------------


def test_a_new_worktree_starts_from_the_default_branch_on_the_task_branch(
    origin: Origin, workspace: GitWorkspace
) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    assert git(path, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
    assert workspace.tip(ITEM) == origin.tip()
    assert workspace.worktrees() == (ITEM,)


def test_a_new_worktree_starts_from_the_remote_task_branch_when_there_is_one(
    origin: Origin, workspace: GitWorkspace
) -> None:
    pushed = origin.commit({"a.txt": "a"}, branch=BRANCH)
    workspace.fetch()
    path = workspace.worktree(ITEM, BRANCH)
    assert workspace.tip(ITEM) == pushed
    assert (path / "a.txt").read_text() == "a"


def test_an_existing_worktree_is_kept_as_it_is(origin: Origin, workspace: GitWorkspace) -> None:
    mine = change(workspace, {"a.txt": "a"})
    write(workspace.worktree(ITEM, BRANCH), {"b.txt": "not committed"})
    origin.commit({"c.txt": "c"}, branch=BRANCH)
    workspace.fetch()
    path = workspace.worktree(ITEM, BRANCH)
    assert workspace.tip(ITEM) == mine
    assert (path / "b.txt").read_text() == "not committed"


def test_the_default_branch_never_becomes_a_local_branch(origin: Origin, workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "a"})
    assert git(mirror(origin), "for-each-ref", "--format=%(refname)", "refs/heads") == f"refs/heads/{BRANCH}"


def test_an_item_that_starts_afresh_on_another_branch_gets_a_new_worktree(workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "a"})
    path = workspace.worktree(ITEM, "feature/WID-1-again")
    assert not (path / "a.txt").exists()


def test_a_worktree_whose_folder_is_gone_comes_back_with_its_local_commits(workspace: GitWorkspace) -> None:
    mine = change(workspace, {"a.txt": "a"})
    shutil.rmtree(workspace.worktree(ITEM, BRANCH))
    path = workspace.worktree(ITEM, BRANCH)
    assert (workspace.tip(ITEM), (path / "a.txt").read_text()) == (mine, "a")


def test_a_half_made_worktree_is_made_again(origin: Origin, workspace: GitWorkspace) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    (mirror(origin) / "worktrees" / ITEM / "orch-branch").unlink()
    (path / "app.txt").unlink()
    assert workspace.worktree(ITEM, BRANCH) == path
    assert git(path, "status", "--porcelain") == ""
    assert [entry.name for entry in (mirror(origin) / "worktrees").iterdir()] == [ITEM]


def test_removing_leaves_nothing_and_may_be_repeated(origin: Origin, workspace: GitWorkspace) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    write(path, {"cache/sealed/file": "x"})
    (path / "cache/sealed").chmod(0o500)
    (path / "cache").chmod(0o500)
    workspace.remove(ITEM)
    workspace.remove(ITEM)
    assert (workspace.worktrees(), path.exists()) == ((), False)
    assert git(mirror(origin), "for-each-ref", "refs/heads") == ""
    assert not (mirror(origin) / "worktrees" / ITEM).exists()


def test_removing_one_item_leaves_the_others_alone(workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "a"})
    other = change(workspace, {"b.txt": "b"}, item="WID-2", branch="feature/WID-2-other")
    workspace.remove(ITEM)
    assert workspace.tip("WID-2") == other


@pytest.mark.parametrize("key", ["../WID-1", "WID-1/x", "-rf", ""])
def test_what_is_no_key_never_becomes_a_path(workspace: GitWorkspace, key: str) -> None:
    with pytest.raises(Refused, match="not the key"):
        workspace.worktree(key, BRANCH)


@pytest.mark.parametrize("commit", ["--output=x", "main", "HEAD", "abc"])
def test_what_is_no_full_commit_id_is_refused(workspace: GitWorkspace, commit: str) -> None:
    with pytest.raises(Refused, match="not a full commit id"):
        workspace.read(commit, "app.txt")


def test_an_item_without_a_worktree_is_told_so(workspace: GitWorkspace) -> None:
    with pytest.raises(CouldNotRun, match="WID-9 has no worktree"):
        workspace.tip("WID-9")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_head_passes_over_commits_of_artifacts_only(workspace: GitWorkspace) -> None:
    code = change(workspace, {"a.txt": "a", f"{ARTIFACTS}/01-brd.md": "x"})
    tip = change(workspace, {f"{ARTIFACTS}/10-review.md": "approved"})
    assert (workspace.head(code, ARTIFACTS), workspace.head(tip, ARTIFACTS)) == (code, code)


def test_head_counts_the_artifacts_of_another_item_as_a_change(workspace: GitWorkspace) -> None:
    tip = change(workspace, {"docs/work-items/WID-12/01-brd.md": "x"})
    assert workspace.head(tip, ARTIFACTS) == tip


def test_head_of_a_branch_without_other_changes_is_the_merge_base(origin: Origin, workspace: GitWorkspace) -> None:
    start = workspace.fetch()
    tip = change(workspace, {f"{ARTIFACTS}/01-brd.md": "x"})
    origin.commit({"more.txt": "x"})
    workspace.fetch()
    assert workspace.head(tip, ARTIFACTS) == start


def test_files_of_a_commit_are_read_from_the_commit(workspace: GitWorkspace) -> None:
    tip = change(workspace, {f"{ARTIFACTS}/01-brd.md": "the brd\n", f"{ARTIFACTS}/06-adr/1.md": "adr", "ü*.txt": "ü\n"})
    write(workspace.worktree(ITEM, BRANCH), {f"{ARTIFACTS}/01-brd.md": "changed since"})
    assert workspace.read(tip, f"{ARTIFACTS}/01-brd.md") == "the brd\n"
    assert workspace.read(tip, "ü*.txt") == "ü\n"
    assert workspace.files(tip, ARTIFACTS) == (f"{ARTIFACTS}/01-brd.md", f"{ARTIFACTS}/06-adr/1.md")
    assert workspace.files(tip, "nowhere") == ()


@pytest.mark.parametrize("path", ["missing.md", "docs", "docs/", "link", "../app.txt", "/app.txt", "*.txt", ""])
def test_what_is_no_regular_file_of_the_commit_reads_as_none(workspace: GitWorkspace, path: str) -> None:
    folder = workspace.worktree(ITEM, BRANCH)
    (folder / "link").symlink_to("/etc/hostname")
    tip = change(workspace, {"docs/x.md": "x"})
    assert workspace.read(tip, path) is None


def test_an_unknown_commit_is_not_a_missing_file(workspace: GitWorkspace) -> None:
    with pytest.raises(CouldNotRun, match="has no commit"):
        workspace.read("1" * 40, "app.txt")


def test_ancestors_and_differences_are_told(origin: Origin, workspace: GitWorkspace) -> None:
    start, tip = workspace.fetch(), change(workspace, {"a.txt": "a\n"})
    assert workspace.is_ancestor(start, tip)
    assert not workspace.is_ancestor(tip, start)
    assert "1 file changed, 1 insertion(+)" in workspace.diffstat(start, tip)


# --- committing and restoring -----------------------------------------------------------------------------------------


def test_commit_all_commits_what_an_agent_left_and_nothing_when_clean(workspace: GitWorkspace) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    write(path, {"new.txt": "x", ".gitignore": "*.log\n", "noise.log": "x"})
    (path / "app.txt").unlink()
    tip = workspace.commit_all(ITEM, "--amend is only a message")
    assert workspace.files(tip, "") == (".gitignore", "new.txt")
    assert (
        git(path, "log", "-1", "--format=%s|%an|%ae|%ce")
        == "--amend is only a message|Orch|orch@localhost|orch@localhost"
    )
    assert workspace.commit_all(ITEM, "again") == tip


@pytest.mark.parametrize("step", [("checkout", "-q", "--detach"), ("checkout", "-q", "-b", "my-own")])
def test_commits_that_an_agent_made_beside_the_branch_come_home(workspace: GitWorkspace, step: tuple[str, ...]) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    git(path, *step)
    write(path, {"a.txt": "a"})
    git(path, "add", "-A")
    git(path, "commit", "-qm", "agent")
    tip = workspace.commit_all(ITEM, "rest")
    assert git(path, "rev-parse", f"refs/heads/{BRANCH}") == tip == workspace.tip(ITEM)
    assert git(path, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"


def test_a_worktree_that_lost_its_branch_is_not_committed(workspace: GitWorkspace) -> None:
    start = workspace.fetch()
    mine = change(workspace, {"a.txt": "a"})
    git(workspace.worktree(ITEM, BRANCH), "checkout", "-q", "--detach", start)
    with pytest.raises(CouldNotRun, match="does not contain its branch"):
        workspace.commit_all(ITEM, "rest")
    workspace.restore(ITEM, mine)
    assert workspace.commit_all(ITEM, "rest") == mine


def test_restoring_takes_away_everything_but_the_commit(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"a.txt": "a\n", ".gitignore": "*.log\n"})
    path = workspace.worktree(ITEM, BRANCH)
    moved = origin.commit({"a.txt": "other\n"})
    workspace.fetch()
    write(path, {"noise.log": "x", "stray/file": "x"})
    git(path, "init", "-q", "nested")
    subprocess.run(["git", "rebase", moved], cwd=path, check=False, capture_output=True)
    (mirror(origin) / "worktrees" / ITEM / "index").write_bytes(b"torn")
    workspace.restore(ITEM, tip)
    assert workspace.tip(ITEM) == tip
    assert git(path, "status", "--porcelain=2", "--branch", "--ignored").splitlines()[1:] == [f"# branch.head {BRANCH}"]


def test_an_unfinished_rebase_is_taken_back_by_the_next_call(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"app.txt": "mine\n"})
    moved = origin.commit({"app.txt": "theirs\n"})
    workspace.fetch()
    path = workspace.worktree(ITEM, BRANCH)
    subprocess.run(["git", "rebase", moved], cwd=path, check=False, capture_output=True)
    assert (mirror(origin) / "worktrees" / ITEM / "rebase-merge").exists()
    workspace.worktree(ITEM, BRANCH)
    assert (workspace.tip(ITEM), (path / "app.txt").read_text()) == (tip, "mine\n")


def test_a_stale_index_lock_is_broken(origin: Origin, workspace: GitWorkspace) -> None:
    workspace.worktree(ITEM, BRANCH)
    lock = mirror(origin) / "worktrees" / ITEM / "index.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    change(workspace, {"a.txt": "a"})
    assert not lock.exists()


# --- rebasing ---------------------------------------------------------------------------------------------------------


def test_a_clean_rebase_carries_the_same_change(origin: Origin, workspace: GitWorkspace) -> None:
    base, text = workspace.fetch(), "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"
    tip = change(workspace, {"app.txt": text.replace("five", "FIVE")})
    moved = origin.commit({"app.txt": text.replace("eight", "EIGHT")})  # near enough to be context of the change
    workspace.fetch()
    rebased = workspace.rebase(ITEM, moved)
    assert isinstance(rebased, Rebased)
    assert (rebased.base, rebased.moved, rebased.tip) == (moved, True, workspace.tip(ITEM))
    assert workspace.is_ancestor(moved, rebased.tip)
    assert workspace.same_change((base, tip), (moved, rebased.tip))


def test_another_change_on_top_is_not_the_same(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.bin": "\0one"})
    moved = origin.commit({"more.txt": "x"})
    workspace.fetch()
    workspace.rebase(ITEM, moved)
    other = change(workspace, {"a.bin": "\0two"})
    assert not workspace.same_change((base, tip), (moved, other))


def test_a_branch_on_top_already_is_not_rewritten(workspace: GitWorkspace) -> None:
    tip = change(workspace, {"a.txt": "a"})
    assert workspace.rebase(ITEM, workspace.fetch()) == Rebased(tip, workspace.fetch(), moved=False)


def test_a_conflict_names_the_files_and_changes_nothing(origin: Origin, workspace: GitWorkspace) -> None:
    first = change(workspace, {"fine.txt": "x"})
    tip = change(workspace, {"app.txt": "mine\n", "dir/ü.txt": "mine\n"})
    moved = origin.commit({"app.txt": "theirs\n", "dir/ü.txt": "theirs\n"})
    workspace.fetch()
    assert workspace.rebase(ITEM, moved) == Conflict(moved, ("app.txt", "dir/ü.txt"))
    assert workspace.tip(ITEM) == tip != first
    path = workspace.worktree(ITEM, BRANCH)
    assert git(path, "status", "--porcelain") == ""
    assert git(path, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"


def test_a_change_that_the_default_branch_has_already_is_dropped(origin: Origin, workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "same\n"})
    moved = origin.commit({"a.txt": "same\n"})
    workspace.fetch()
    assert workspace.rebase(ITEM, moved) == Rebased(moved, moved, moved=True)


def test_uncommitted_work_is_not_lost_by_a_rebase(origin: Origin, workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "a"})
    moved = origin.commit({"more.txt": "x"})
    workspace.fetch()
    path = workspace.worktree(ITEM, BRANCH)
    write(path, {"app.txt": "unsaved"})
    with pytest.raises(CouldNotRun, match="could not be rebased"):
        workspace.rebase(ITEM, moved)
    assert (path / "app.txt").read_text() == "unsaved"


# --- what git must not do ---------------------------------------------------------------------------------------------


def test_no_configuration_hook_or_environment_of_ours_reaches_git(
    origin: Origin, workspace: GitWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = origin.base / "traces"
    hooks = origin.base / "hooks"
    write(hooks, dict.fromkeys(("pre-commit", "post-checkout", "pre-push"), f"#!/bin/sh\ntouch {traces}\nexit 1\n"))
    for hook in hooks.iterdir():
        hook.chmod(0o755)
    config = origin.base / "gitconfig"
    config.write_text(
        f"[core]\n\thooksPath = {hooks}\n[user]\n\tname = Somebody\n[alias]\n\tcommit = !touch {traces}\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_TRACE", str(traces))
    tip = change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    assert git(mirror(origin), "log", "-1", "--format=%an", tip) == "Orch"
    assert not traces.exists()


def test_an_agent_cannot_make_git_run_programs(origin: Origin, workspace: GitWorkspace) -> None:
    path, traces = workspace.worktree(ITEM, BRANCH), origin.base / "traces"
    program = f'"touch {traces}"'
    evil = f'[core]\n\tfsmonitor = {program}\n[filter "x"]\n\tclean = {program}\n\tsmudge = {program}\n'
    (mirror(origin) / "config").open("a").write(evil)
    write(mirror(origin) / "hooks", {"pre-commit": f"#!/bin/sh\ntouch {traces}\n"})
    (mirror(origin) / "hooks/pre-commit").chmod(0o755)
    git(origin.base, "clone", "-q", str(origin.bare), str(path / "nested"))
    (path / "nested/.git/config").open("a").write(evil)
    (path / ".git").unlink()
    git(path, "init", "-q")
    (path / ".git/config").open("a").write(evil)
    write(path, {"nested/app.txt": "x", ".gitattributes": "* filter=x\n", "a.txt": "a"})
    workspace.commit_all(ITEM, "rest")
    tip = workspace.commit_all(ITEM, "rest")
    workspace.restore(ITEM, tip)
    assert workspace.read(tip, "a.txt") == "a"
    assert not traces.exists()


def test_credentials_stay_out_of_texts_configuration_and_local_processes(origin: Origin) -> None:
    secret = "c2VjcmV0LXRva2Vu"
    credentials = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.http://127.0.0.1:1/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {secret}",
    }
    workspace = origin.workspace(url="http://127.0.0.1:1/team/app.git", credentials=credentials)
    with pytest.raises(Unavailable) as caught:
        workspace.fetch()
    assert secret not in str(caught.value)
    assert "team/app cannot be reached" in str(caught.value)
    for path in mirror(origin).rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    assert secret not in repr(vars(workspace))


def test_files_are_not_a_remote_unless_the_url_is_a_path(origin: Origin) -> None:
    with pytest.raises((Unavailable, Refused), match="not allowed"):
        origin.workspace(url="ext::sh -c whoami").fetch()
