"""The sandbox's pull requests and pushes are told in the same words as those of the recorded Gitea 1.21."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.sandbox.clones import commit, git
from tests.deployments.sandbox.gitea_desk import REPO, Desk, assert_as_recorded, assert_told_as_recorded, opened_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opened_desk(tmp_path_factory.mktemp("gitea")) as desk:
        yield desk


def test_a_pull_request_is_opened_as_recorded(desk: Desk) -> None:
    desk.sandbox.commit("feature/open", {"open.txt": "x\n"})
    fields = {"head": "feature/open", "base": "main", "title": "Open", "body": "body"}
    answer = desk.bot.post(f"{REPO}/pulls", json=fields)
    assert_as_recorded(answer, "api-post-pull")
    number = answer.json()["number"]
    opened = desk.told("pull_request", lambda b: b["number"] == number and b["action"] == "opened")
    assert_told_as_recorded(opened, "18-pull_request-pr1-opened")


def test_a_push_to_a_pull_request_says_that_mergeability_is_still_checked(desk: Desk) -> None:
    number, _ = desk.pull("feature/sync", {"s.txt": "1\n"})
    new = desk.sandbox.commit("feature/sync", {"s.txt": "2\n"})
    told = desk.told("pull_request_sync", lambda b: b["number"] == number)
    assert_told_as_recorded(told, "20-pull_request_sync-pr1-synchronized")
    pull = told.body["pull_request"]
    assert (pull["head"]["sha"], pull["mergeable"]) == (new, False)
    assert desk.bot.get(f"{REPO}/pulls/{number}").json()["mergeable"] is True


def test_closing_without_merging_is_told_as_recorded(desk: Desk) -> None:
    number, _ = desk.pull("feature/close", {"c.txt": "c\n"})
    assert desk.bot.patch(f"{REPO}/pulls/{number}", json={"state": "closed"}).status_code == 201
    closed = desk.told("pull_request", lambda b: b["number"] == number and b["action"] == "closed")
    assert_told_as_recorded(closed, "37-pull_request-pr1-closed-unmerged")
    assert desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "merge"}).status_code == 404


def test_deleting_the_head_branch_closes_the_pull_request(desk: Desk) -> None:
    number, _ = desk.pull("feature/gone", {"g.txt": "g\n"})
    desk.bot.delete(f"{REPO}/branches/feature/gone")
    told = desk.told("delete", lambda b: b["ref"] == "feature/gone")
    assert_told_as_recorded(told, "100-delete-head-branch-deleted-open-pr")
    pull = desk.bot.get(f"{REPO}/pulls/{number}").json()
    assert (pull["state"], pull["merged"]) == ("closed", False)


def test_a_work_in_progress_is_not_mergeable(desk: Desk) -> None:
    number, _ = desk.pull("feature/wip", {"w.txt": "w\n"}, "WIP: not ready")
    opened = desk.told("pull_request", lambda b: b["number"] == number)
    assert_told_as_recorded(opened, "92-pull_request-wip")
    assert opened.body["pull_request"]["mergeable"] is False


def test_merging_by_rebase_is_answered_and_told_as_recorded(desk: Desk) -> None:
    before = desk.sandbox.repository().main
    number, head = desk.pull("feature/land", {"land.txt": "1\n"})
    out_of_date = desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "merge", "head_commit_id": before})
    assert out_of_date.json()["message"] == assert_as_recorded(out_of_date, "api-merge-409-head-out-of-date")["message"]
    merged = desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "rebase", "head_commit_id": head})
    assert_as_recorded(merged, "api-merge-style-rebase-ok")
    assert_as_recorded(desk.bot.get(f"{REPO}/pulls/{number}"), "api-get-pull-merged-rebase")
    closed = desk.told("pull_request", lambda b: b["number"] == number and b["action"] == "closed")
    assert_told_as_recorded(closed, "52-pull_request-style-rebase-merged")
    push = desk.told("push", lambda b: b["ref"] == "refs/heads/main" and b["after"] == head)
    assert_told_as_recorded(push, "53-push-style-rebase-merged")
    assert (push.body["before"], desk.sandbox.repository().main) == (before, head)
    again = desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "merge"})
    assert again.json()["message"] == assert_as_recorded(again, "api-merge-405-already-merged")["message"]


def test_a_conflict_is_a_409_while_fresh_and_a_405_once_known(desk: Desk) -> None:
    number, _ = desk.pull("feature/clash", {"clash.txt": "here\n"})
    desk.sandbox.commit("main", {"clash.txt": "there\n"})
    fresh = desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "merge"})
    assert_as_recorded(fresh, "api-merge-conflict-immediately")
    known = desk.bot.post(f"{REPO}/pulls/{number}/merge", json={"Do": "merge"})
    assert known.json()["message"] == assert_as_recorded(known, "api-merge-conflict")["message"]


def test_pushes_are_told_as_recorded(desk: Desk) -> None:
    first = desk.sandbox.commit("push/new", {"n.txt": "1\n"})
    told = desk.told("push", lambda b: b["after"] == first)
    assert_told_as_recorded(told, "10-push-push-new-branch-with-commits")
    assert told.body["before"] == "0" * 40
    assert (told.body["commits"][0]["added"], told.body["total_commits"]) == (["n.txt"], 1)
    second = desk.sandbox.commit("push/new", {"n.txt": "2\n"})
    told = desk.told("push", lambda b: b["after"] == second)
    assert_told_as_recorded(told, "08-push-push-2-commits")
    assert (told.body["before"], told.body["head_commit"]["modified"]) == (first, ["n.txt"])


def test_a_branch_without_commits_of_its_own_is_told_as_recorded(desk: Desk) -> None:
    desk.bot.post(f"{REPO}/branches", json={"new_branch_name": "push/empty"})
    told = desk.told("push", lambda b: b["ref"] == "refs/heads/push/empty")
    assert_told_as_recorded(told, "07-push-branch-created-git")
    assert told.body["commits"] == []


def test_pushes_to_the_default_branch_and_through_the_api_are_told_as_recorded(desk: Desk) -> None:
    sha = desk.sandbox.commit("main", {"m.txt": "1\n"})
    told = desk.told("push", lambda b: b["after"] == sha)
    for name in ("02-push-push-main", "11-push-contents-put-api"):
        assert_told_as_recorded(told, name)


def test_a_first_push_of_many_commits_and_a_tag_are_told_as_recorded(desk: Desk, tmp_path: Path) -> None:
    url = desk.sandbox.clone_url_with_token()
    git(tmp_path, "clone", "-q", url, "clone")
    clone = tmp_path / "clone"
    for number in range(8):
        last = commit(clone, f"eight-{number}.txt")
    git(clone, "tag", "v0.1")
    git(clone, "push", "-q", "origin", "HEAD:t/eight", "v0.1")
    told = desk.told("push", lambda b: b["ref"] == "refs/heads/t/eight")
    assert_told_as_recorded(told, "127-push-push-8-commits")
    assert (told.body["after"], len(told.body["commits"]), told.body["total_commits"]) == (last, 5, 8)
    assert told.body["commits"][0]["id"] == last
    tag = desk.told("push", lambda b: b["ref"] == "refs/tags/v0.1")
    assert_told_as_recorded(tag, "12-push-tag-push")
    assert (tag.body["commits"], tag.body["total_commits"]) == ([], 0)


def test_a_forced_push_to_a_pull_request_is_told_as_recorded(desk: Desk, tmp_path: Path) -> None:
    number, _ = desk.pull("feature/forced", {"f.txt": "1\n"})
    opened = desk.told("pull_request", lambda b: b["number"] == number)
    assert_told_as_recorded(opened, "48-pull_request-style-rebase-setup")
    git(tmp_path, "clone", "-q", desk.sandbox.clone_url_with_token(), "clone")
    new = commit(tmp_path / "clone", "instead.txt")
    git(tmp_path / "clone", "push", "-q", "--force", "origin", "HEAD:feature/forced")
    told = desk.told("pull_request_sync", lambda b: b["number"] == number)
    assert_told_as_recorded(told, "36-pull_request_sync-pr1-force-push")
    assert told.body["pull_request"]["head"]["sha"] == new
