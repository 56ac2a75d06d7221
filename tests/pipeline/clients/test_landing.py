"""Pushing with a lease and landing: exactly one commit lands, or nothing does."""

import socket
from collections.abc import Iterator

import pytest

from pipeline.clients.git import Result
from pipeline.clients.landing import parse_push
from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import Refused, Unavailable
from pipeline.model import Landed, MovedOn, Protected, Pushed
from tests.pipeline.clients.origin import BRANCH, ITEM, Origin, change, git

# --- pushing ----------------------------------------------------------------------------------------------------------


def test_a_new_branch_is_pushed_once_and_again_is_the_same(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"a.txt": "a"})
    assert workspace.push(ITEM, BRANCH, expected=None) == Pushed(tip)
    assert workspace.push(ITEM, BRANCH, expected=None) == Pushed(tip)
    assert origin.tip(BRANCH) == tip == workspace.remote_tip(BRANCH)


def test_a_rebased_branch_replaces_the_one_it_was_made_from(origin: Origin, workspace: GitWorkspace) -> None:
    old = change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    moved = origin.commit({"b.txt": "b"})
    workspace.fetch()
    workspace.rebase(ITEM, moved)
    assert workspace.push(ITEM, BRANCH, expected=old) == Pushed(workspace.tip(ITEM))
    assert origin.tip(BRANCH) == workspace.tip(ITEM)


@pytest.mark.parametrize("fetched", [False, True])
def test_a_push_of_somebody_else_is_never_overwritten(origin: Origin, workspace: GitWorkspace, fetched: bool) -> None:
    tip = change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    theirs = origin.commit({"b.txt": "b"}, branch=BRANCH)
    change(workspace, {"c.txt": "c"})
    if fetched:
        workspace.fetch()
    assert workspace.push(ITEM, BRANCH, expected=tip) == MovedOn(theirs)
    assert origin.tip(BRANCH) == theirs


def test_a_branch_that_should_not_be_there_is_not_overwritten(origin: Origin, workspace: GitWorkspace) -> None:
    change(workspace, {"a.txt": "a"})
    theirs = origin.commit({"b.txt": "b"}, branch=BRANCH)
    assert workspace.push(ITEM, BRANCH, expected=None) == MovedOn(theirs)


def test_a_branch_that_was_deleted_is_not_made_anew(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    git(origin.bare, "branch", "-D", BRANCH)
    change(workspace, {"b.txt": "b"})
    assert workspace.push(ITEM, BRANCH, expected=tip) == MovedOn(None)
    assert origin.tip(BRANCH) is None


@pytest.mark.parametrize(
    "branch", ["main", "--mirror", "release/1", "feature/", "feature/a..b", "feature/a:main", "+x"]
)
def test_only_task_branches_are_pushed(origin: Origin, workspace: GitWorkspace, branch: str) -> None:
    change(workspace, {"a.txt": "a"})
    before = git(origin.bare, "for-each-ref")
    with pytest.raises(Refused, match="not a task branch"):
        workspace.push(ITEM, branch, expected=None)
    assert git(origin.bare, "for-each-ref") == before


def test_a_task_branch_that_the_server_declines_is_refused_with_its_words(
    origin: Origin, workspace: GitWorkspace
) -> None:
    origin.hook("pre-receive", "echo 'not on a Friday' >&2; exit 1")
    change(workspace, {"a.txt": "a"})
    with pytest.raises(Refused, match="not on a Friday"):
        workspace.push(ITEM, BRANCH, expected=None)


# --- landing ----------------------------------------------------------------------------------------------------------


def test_landing_moves_the_default_branch_to_exactly_the_commit(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    assert workspace.land(tip, expected=base) == Landed(tip)
    assert origin.tip() == tip == workspace.remote_tip("main")


def test_landing_again_is_landed(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    workspace.land(tip, expected=base)
    assert workspace.land(tip, expected=base) == Landed(tip)
    assert origin.tip() == tip


def test_nothing_lands_on_a_default_branch_that_moved(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    moved = origin.commit({"b.txt": "b"})
    assert workspace.land(tip, expected=base) == MovedOn(moved)
    assert origin.tip() == moved


def test_nothing_lands_when_it_moves_between_the_look_and_the_push(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    moved = origin.commit({"b.txt": "b"})
    git(origin.bare, "update-ref", "refs/heads/main", base)
    # A server refuses to move refs for a hook that holds a push in quarantine; somebody else's push is not its child.
    origin.hook("pre-receive", f"env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main {moved}")
    assert workspace.land(tip, expected=base) == MovedOn(moved)
    assert origin.tip() == moved


def test_a_protected_default_branch_says_why(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    origin.hook("pre-receive", "echo 'Not allowed to push to protected branch main' >&2; exit 1")
    landed = workspace.land(tip, expected=base)
    assert isinstance(landed, Protected)
    assert "pre-receive hook declined" in landed.reason
    assert "Not allowed to push to protected branch main" in landed.reason
    assert origin.tip() == base


def test_a_push_on_top_right_after_does_not_unland_it(origin: Origin, workspace: GitWorkspace) -> None:
    base, tip = workspace.fetch(), change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    later = git(origin.bare, "commit-tree", f"{tip}^{{tree}}", "-p", tip, "-m", "later")
    origin.hook("post-receive", f"git update-ref refs/heads/main {later}")
    assert workspace.land(tip, expected=base) == Landed(tip)


def test_a_commit_that_does_not_contain_the_default_branch_never_lands(origin: Origin, workspace: GitWorkspace) -> None:
    tip = change(workspace, {"a.txt": "a"})
    moved = origin.commit({"b.txt": "b"})
    workspace.fetch()
    with pytest.raises(Refused, match="does not contain"):
        workspace.land(tip, expected=moved)
    assert origin.tip() == moved


# --- a server that is not there ---------------------------------------------------------------------------------------


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/team/app.git"


def test_a_hanging_server_is_unavailable(origin: Origin, silent_server: str) -> None:
    workspace = origin.workspace(url=silent_server, remote_timeout_s=0.5)
    with pytest.raises(Unavailable, match=r"team/app did not answer git fetch within 0\.5 s"):
        workspace.fetch()


# --- git's words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "accepted", "by_server"),
    [
        (" \t1111:refs/heads/main\t1111..2222", True, False),
        ("*\t1111:refs/heads/x\t[new branch]", True, False),
        ("+\t1111:refs/heads/x\t1111...2222 (forced update)", True, False),
        ("=\t1111:refs/heads/x\t[up to date]", True, False),
        ("!\t1111:refs/heads/x\t[rejected] (stale info)", False, False),
        ("!\t1111:refs/heads/main\t[rejected] (fetch first)", False, False),
        ("!\t1111:refs/heads/main\t[remote rejected] (pre-receive hook declined)", False, True),
    ],
)
def test_the_line_about_the_ref_is_the_verdict(line: str, accepted: bool, by_server: bool) -> None:
    verdict = parse_push(Result(0, f"To /somewhere\n{line}\nDone\n".encode(), ""))
    assert verdict is not None
    assert (verdict.accepted, verdict.by_server) == (accepted, by_server)


def test_without_a_line_about_the_ref_there_is_no_verdict() -> None:
    assert parse_push(Result(128, b"", "fatal: unable to access")) is None
