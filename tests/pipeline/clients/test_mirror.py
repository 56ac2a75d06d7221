"""The mirror: what it holds after a fetch, and what is read from it."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import CouldNotRun, Missing, SettingsError
from pipeline.projects import Project
from tests.pipeline.clients.origin import ARTIFACTS, BRANCH, ITEM, Origin, change, git, write


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


def test_a_repository_whose_default_branch_was_renamed_is_told_so(origin: Origin, workspace: GitWorkspace) -> None:
    git(origin.bare, "branch", "-m", "main", "trunk")
    with pytest.raises(Missing, match="no branch main"):
        workspace.fetch()


def test_a_password_in_the_url_is_refused() -> None:
    project = Project(key="WID", plane_project=UUID(int=1), repository="team/app", test_command=("true",))
    with pytest.raises(SettingsError, match="password"):
        GitWorkspace(project, root=Path(), url="http://me:pw@forge/team/app.git", credentials={}, home=Path())


def test_a_half_made_mirror_is_made_again(origin: Origin, workspace: GitWorkspace) -> None:
    (origin.mirror / "HEAD").unlink()
    (origin.base / "state/repos/WID.git.new").mkdir()
    assert workspace.fetch() == origin.tip()


def test_locks_that_a_killed_git_left_in_the_mirror_are_broken(origin: Origin, workspace: GitWorkspace) -> None:
    moved = origin.commit({"more.txt": "x"})
    for name in ("refs/remotes/origin/main.lock", "packed-refs.lock"):
        (origin.mirror / name).touch()
        os.utime(origin.mirror / name, (0, 0))
    assert workspace.fetch() == moved


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
