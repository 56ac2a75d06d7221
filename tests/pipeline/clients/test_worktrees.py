"""Worktrees: how they are made, healed, committed, restored, rebased and removed."""

import os
import shutil
import subprocess

import pytest

from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import CouldNotRun, Refused
from pipeline.model import Conflict, Rebased
from tests.pipeline.clients.origin import BRANCH, ITEM, Origin, change, git, write


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
    assert git(origin.mirror, "for-each-ref", "--format=%(refname)", "refs/heads") == f"refs/heads/{BRANCH}"


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
    (origin.mirror / "worktrees" / ITEM / "orch-branch").unlink()
    (path / "app.txt").unlink()
    assert workspace.worktree(ITEM, BRANCH) == path
    assert git(path, "status", "--porcelain") == ""
    assert [entry.name for entry in (origin.mirror / "worktrees").iterdir()] == [ITEM]


def test_removing_leaves_nothing_and_may_be_repeated(origin: Origin, workspace: GitWorkspace) -> None:
    path = workspace.worktree(ITEM, BRANCH)
    write(path, {"cache/sealed/file": "x"})
    (path / "cache/sealed").chmod(0o500)
    (path / "cache").chmod(0o500)
    workspace.remove(ITEM)
    workspace.remove(ITEM)
    assert (workspace.worktrees(), path.exists()) == ((), False)
    assert git(origin.mirror, "for-each-ref", "refs/heads") == ""
    assert not (origin.mirror / "worktrees" / ITEM).exists()


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
    (origin.mirror / "worktrees" / ITEM / "index").write_bytes(b"torn")
    workspace.restore(ITEM, tip)
    assert workspace.tip(ITEM) == tip
    assert git(path, "status", "--porcelain=2", "--branch", "--ignored").splitlines()[1:] == [f"# branch.head {BRANCH}"]


def test_an_unfinished_rebase_is_taken_back_by_the_next_call(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"app.txt": "mine\n"})
    moved = origin.commit({"app.txt": "theirs\n"})
    workspace.fetch()
    path = workspace.worktree(ITEM, BRANCH)
    subprocess.run(["git", "rebase", moved], cwd=path, check=False, capture_output=True)
    assert (origin.mirror / "worktrees" / ITEM / "rebase-merge").exists()
    workspace.worktree(ITEM, BRANCH)
    assert (workspace.tip(ITEM), (path / "app.txt").read_text()) == (tip, "mine\n")


def test_a_stale_index_lock_is_broken(origin: Origin, workspace: GitWorkspace) -> None:
    workspace.worktree(ITEM, BRANCH)
    lock = origin.mirror / "worktrees" / ITEM / "index.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    change(workspace, {"a.txt": "a"})
    assert not lock.exists()


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
