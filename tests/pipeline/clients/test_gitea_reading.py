"""What Gitea's client reads and tidies besides landing, against recorded answers of a real server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.clients.gitea import GiteaClient
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import CiState, CiStatus, ReviewKind
from pipeline.projects import Project

REPO = "/api/v1/repos/acme/widgets"
BRANCH = f"{REPO}/branches/feature%2Fone"
REVIEWED = "7b8fb04753b99f62b7a2f0df2552a78a1de86e15"


def pull(replay: Any, number: int, updated_at: datetime, **more: Any) -> dict[str, Any]:
    """The recorded open pull request under another number."""
    opened: dict[str, Any] = replay.recorded("gitea/api-get-pull-open")["json"]
    return opened | {"number": number, "updated_at": updated_at.strftime("%Y-%m-%dT%H:%M:%SZ")} | more


# --- reviews


async def test_the_recorded_reviews_without_the_draft_and_the_request(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    replay.recorded("gitea/api-get-reviews")
    reviews = await gitea.reviews(project, 1)
    assert [(one.id, one.reviewer, one.kind, one.official) for one in reviews] == [
        (2, "rev1", ReviewKind.COMMENT, False),
        (3, "rev1", ReviewKind.REJECTED, False),  # superseded by the same reviewer's approval
        (4, "rev1", ReviewKind.APPROVED, True),
        (5, "rev2", ReviewKind.APPROVED, True),
        (8, "outsider", ReviewKind.APPROVED, False),
    ]
    assert {(one.commit, one.stale, one.dismissed) for one in reviews} == {(REVIEWED, False, False)}
    assert reviews[0].submitted_at == datetime(2026, 11, 21, 1, 50, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "rejects"),
    [
        ({"state": "REQUEST_CHANGES", "official": True}, True),
        ({"state": "REQUEST_CHANGES", "official": True, "stale": True}, True),
        ({"state": "REQUEST_CHANGES", "official": True, "dismissed": True}, False),
        ({"state": "REQUEST_CHANGES", "official": False}, False),
        ({"state": "APPROVED", "official": True}, False),
        ({"state": "COMMENT", "official": False}, False),
    ],
)
async def test_changes_are_requested_by_an_official_verdict_that_stands(
    gitea: GiteaClient, replay: Any, project: Project, fields: dict[str, Any], rejects: bool
) -> None:
    recorded = replay.recorded("gitea/api-get-reviews")["json"][2]
    replay.replies.clear()
    replay.on("GET", f"{REPO}/pulls/1/reviews", 200, [recorded | fields])
    (review,) = await gitea.reviews(project, 1)
    assert review.rejects is rejects


async def test_a_team_that_was_asked_for_a_review_is_no_reviewer(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    asked = replay.recorded("gitea/api-get-reviews")["json"][0] | {"user": None, "team": {"name": "crew"}}
    replay.replies.clear()
    replay.on("GET", f"{REPO}/pulls/1/reviews", 200, [asked])
    assert await gitea.reviews(project, 1) == ()


# --- recent pull requests


async def test_a_merged_pull_request_tells_who_merged_what(gitea: GiteaClient, replay: Any, project: Project) -> None:
    merged = replay.recorded("gitea/api-get-pull-merged-rebase")["json"]
    replay.on("GET", f"{REPO}/pulls", 200, [merged])
    (recent,) = await gitea.recent_pulls(project, changed_since=datetime(2026, 11, 21, tzinfo=UTC))
    assert (recent.number, recent.branch, recent.base, recent.open, recent.merged) == (
        4,
        "t/rebase",
        "main",
        False,
        True,
    )
    assert (recent.merged_by, recent.merge_commit) == ("bot1", "1f5f30bdb0b3323bc67efc31d5990245ff53a87a")
    assert recent.updated_at == datetime(2026, 11, 21, 1, 54, 34, tzinfo=UTC)
    assert replay.calls[0].path == f"{REPO}/pulls?state=all&sort=recentupdate&limit=50&page=1"


async def test_recent_pull_requests_are_read_until_the_first_older_one(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    first = [pull(replay, 100 - n, now - timedelta(seconds=n)) for n in range(50)]
    second = [pull(replay, 50 - n, now - timedelta(seconds=50 + n)) for n in range(50)]
    replay.on("GET", f"{REPO}/pulls", 200, first)
    replay.on("GET", f"{REPO}/pulls", 200, second)
    recent = await gitea.recent_pulls(project, changed_since=now - timedelta(seconds=52, microseconds=-400_000))
    assert [one.number for one in recent] == list(range(100, 47, -1))  # 48 changed in the very second
    assert replay.made() == [("GET", f"{REPO}/pulls")] * 2


async def test_a_pull_request_that_slides_to_the_next_page_meanwhile_is_told_once(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    first = [pull(replay, 100 - n, now) for n in range(50)]
    replay.on("GET", f"{REPO}/pulls", 200, first)
    replay.on("GET", f"{REPO}/pulls", 200, [first[-1], pull(replay, 7, now)])
    recent = await gitea.recent_pulls(project, changed_since=now)
    assert [one.number for one in recent] == [*range(100, 50, -1), 7]


async def test_a_fork_tells_nothing_and_a_branch_that_is_gone_keeps_its_name(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    ours = pull(replay, 1, now, state="closed")
    ours["head"] = ours["head"] | {"ref": "refs/pull/1/head", "repo": None}
    foreign = pull(replay, 2, now)
    foreign["head"] = foreign["head"] | {"repo_id": 99}
    replay.on("GET", f"{REPO}/pulls", 200, [foreign, ours])
    assert [one.branch for one in await gitea.recent_pulls(project, changed_since=now)] == ["feature/one"]


async def test_a_server_that_cuts_no_pages_is_read_once(gitea: GiteaClient, replay: Any, project: Project) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    replay.on("GET", f"{REPO}/pulls", 200, [pull(replay, n, now) for n in range(60)])
    assert len(await gitea.recent_pulls(project, changed_since=now)) == 60


# --- statuses


async def test_the_total_of_a_combined_status_is_that_of_its_page(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    green = [{"context": f"c{n}", "status": "success"} for n in range(50)]
    red = [{"context": "last", "status": "error"}]
    replay.on("GET", f"{REPO}/commits/abc/status", 200, {"state": "success", "total_count": 50, "statuses": green})
    replay.on("GET", f"{REPO}/commits/abc/status", 200, {"state": "error", "total_count": 1, "statuses": red})
    assert await gitea.combined_status(project, "abc") == CiStatus(CiState.FAILURE, failing=("last",))


async def test_an_empty_answer_about_a_commit_is_no_status(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.on("GET", f"{REPO}/commits/abc/status", 200)
    assert await gitea.combined_status(project, "abc") == CiStatus(CiState.NONE)


# --- comments


async def test_a_comment_is_read_as_recorded(gitea: GiteaClient, replay: Any, project: Project) -> None:
    recorded = replay.recorded("gitea/api-post-comment")["json"]
    replay.on("GET", f"{REPO}/issues/1/comments", 200, [recorded])
    (comment,) = await gitea.comments(project, 1)
    assert (comment.id, comment.author, comment.text) == (4, "bot1", "A comment from the bot: `ok`")
    assert comment.created_at == datetime(2026, 11, 21, 1, 49, 32, tzinfo=UTC)


async def test_a_comment_is_written_unless_it_is_there(gitea: GiteaClient, replay: Any, project: Project) -> None:
    recorded = replay.recorded("gitea/api-post-comment")["json"]
    replay.on("GET", f"{REPO}/issues/1/comments", 200, [])
    replay.on("GET", f"{REPO}/issues/1/comments", 200, [recorded])
    for _ in range(2):
        await gitea.comment(project, 1, recorded["body"])
    assert [call.body for call in replay.calls if call.method == "POST"] == [{"body": recorded["body"]}]


# --- files


async def test_a_file_is_read_at_a_ref(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-contents-file")
    assert await gitea.file(project, "src/app.py", ref="feature/one") == b"print(1)\n"
    assert replay.calls[0].path == f"{REPO}/contents/src/app.py?ref=feature%2Fone"


async def test_a_file_that_is_not_there_is_none_and_so_is_a_folder(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    path = replay.recorded("gitea/api-err-404-contents-file")["request"]["path"].partition("?")[0].rpartition("/")[2]
    replay.recorded("gitea/api-get-repo")
    entry = replay.recorded("gitea/api-get-contents-file")["json"]
    replay.on("GET", f"{REPO}/contents/src", 200, [entry])
    replay.on("GET", f"{REPO}/contents/link", 200, entry | {"type": "symlink", "content": None, "target": "x"})
    assert [await gitea.file(project, name, ref="main") for name in (path, "src", "link")] == [None, None, None]


async def test_a_file_too_large_for_gitea_is_not_taken_for_an_empty_one(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    entry = replay.recorded("gitea/api-get-contents-file")["json"]
    replay.on("GET", f"{REPO}/contents/big.bin", 200, entry | {"size": 20_000_000, "content": ""})
    with pytest.raises(Refused, match=r"does not hand out big\.bin"):
        await gitea.file(project, "big.bin", ref="main")


# --- branches


async def test_a_branch_is_deleted_and_then_is_gone_for_good(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-err-404-delete-branch")  # what was deleted before is deleted again without a word: 204
    for _ in range(2):
        await gitea.delete_branch(project, "feature/one")
    assert replay.made() == [("DELETE", BRANCH)] * 2


@pytest.mark.parametrize("branch", ["main", "master", "release/1", "t/eight", ""])
async def test_no_branch_but_a_task_branch_is_ever_asked_to_be_deleted(
    gitea: GiteaClient, replay: Any, project: Project, branch: str
) -> None:
    with pytest.raises(Refused, match="is not a task branch"):
        await gitea.delete_branch(project, branch)
    assert replay.calls == []


async def test_a_default_branch_that_is_called_like_a_task_branch_is_not_deleted(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    with pytest.raises(Refused, match="is not a task branch"):
        await gitea.delete_branch(project.model_copy(update={"default_branch": "feature/main"}), "feature/main")
    assert replay.calls == []


@pytest.mark.parametrize("status", [404, 500])
async def test_a_branch_that_never_was_counts_as_deleted(
    gitea: GiteaClient, replay: Any, project: Project, status: int
) -> None:
    replay.on("DELETE", BRANCH, status, {"message": "branch does not exist [name: feature/one]"})
    replay.recorded("gitea/api-err-404-branch")
    replay.recorded("gitea/api-get-repo")
    await gitea.delete_branch(project, "feature/one")


async def test_a_branch_that_gitea_cannot_delete_just_after_a_push_is_to_be_tried_again(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    replay.on("DELETE", BRANCH, 500, {"message": ""})
    tip = replay.recorded("gitea/api-get-branch-slash-encoded")["json"]
    replay.on("GET", BRANCH, 200, tip)
    with pytest.raises(Unavailable) as raised:
        await gitea.delete_branch(project, "feature/one")
    assert raised.value.status == 500


async def test_a_repository_that_is_not_there_is_not_taken_for_a_deleted_branch(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    gone = replay.recorded("gitea/api-err-404-repo")["json"]
    for method, path in (("DELETE", BRANCH), ("GET", REPO)):
        replay.on(method, path, 404, gone)
    with pytest.raises(Missing):
        await gitea.delete_branch(project, "feature/one")


async def test_a_branch_that_gitea_calls_its_default_one_is_refused_with_its_word(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    refusal = replay.recorded("gitea/api-err-delete-default-branch")
    replay.on("DELETE", BRANCH, refusal["status"], refusal["json"])
    with pytest.raises(Refused, match="403 can not delete default branch"):
        await gitea.delete_branch(project, "feature/one")
