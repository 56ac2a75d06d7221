"""Gitea's API against recorded answers of a real server."""

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clients.gitea import GiteaClient
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import CiState, CiStatus, Landed, MovedOn, Protected
from pipeline.projects import Project

REPO = "/api/v1/repos/acme/widgets"
MERGE = f"{REPO}/pulls/1/merge"
COMMIT = "d64dc2ef8e0fc122352712a343d84504370bd728"
BASE = "3ce00710b22251521640cbb8e45f6f42894e7b93"


@pytest.fixture
async def gitea(replay: Any) -> AsyncIterator[GiteaClient]:
    async with GiteaClient(f"{replay.url}/", SecretStr("t0ken")) as client:
        yield client


@pytest.fixture
def modern(replay: Any) -> dict[str, Any]:
    """A repository of Gitea 1.22 with an open pull request, which is handed to the test as Gitea tells it."""
    repository = replay.recorded("gitea/api-get-repo")["json"]
    opened: dict[str, Any] = replay.recorded("gitea/api-get-pull-open")["json"]
    replay.replies.clear()
    replay.on("GET", REPO, 200, repository | {"allow_fast_forward_only_merge": True})
    replay.on("GET", f"{REPO}/pulls/1", 200, opened)
    return opened


def test_git_gets_its_credentials_for_the_forge_only() -> None:
    gitea = GiteaClient("https://git.example.org/", SecretStr("t0ken"))
    environment = gitea.git_credentials()

    def header_for(url: str) -> str:
        asked = ["git", "config", "--get-urlmatch", "http.extraHeader", url]
        return subprocess.run(asked, env=environment, capture_output=True, text=True, check=False).stdout.strip()

    assert header_for("https://git.example.org/acme/widgets.git") == "Authorization: token t0ken"
    assert header_for("https://git.example.org.evil.test/acme/widgets.git") == ""


def test_the_clone_url_holds_no_credentials(project: Project) -> None:
    gitea = GiteaClient("https://git.example.org/", SecretStr("t0ken"))
    assert gitea.clone_url(project) == "https://git.example.org/acme/widgets.git"


async def test_a_pull_request_is_opened_when_there_is_none(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.on("GET", f"{REPO}/pulls", 200, [])
    replay.recorded("gitea/api-post-pull")
    pull = await gitea.open_pull(project, branch="feature/one", title="First pull", body="body")
    assert (pull.number, pull.open, pull.merged, pull.head, pull.base) == (1, True, False, COMMIT, "main")
    assert pull.url.endswith("/acme/widgets/pulls/1")
    assert replay.calls[-1].body == {"head": "feature/one", "base": "main", "title": "First pull", "body": "body"}
    assert replay.calls[0].headers["authorization"] == "token t0ken"


async def test_an_open_pull_request_is_found_again(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-list-pulls-open")
    assert (await gitea.open_pull(project, branch="feature/one", title="x", body="")).number == 1
    assert replay.made() == [("GET", f"{REPO}/pulls")]


async def test_a_pull_request_that_somebody_opens_in_between_is_found(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    replay.on("GET", f"{REPO}/pulls", 200, [])
    replay.recorded("gitea/api-list-pulls-open")
    replay.recorded("gitea/api-err-409-duplicate-pull")
    assert (await gitea.open_pull(project, branch="feature/one", title="x", body="")).number == 1


async def test_a_pull_request_of_a_fork_with_the_same_branch_name_is_not_ours(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    foreign = replay.recorded("gitea/api-get-pull-open")["json"]
    foreign["head"]["repo_id"] = 99
    replay.on("GET", f"{REPO}/pulls", 200, [foreign])
    replay.recorded("gitea/api-post-pull")
    await gitea.open_pull(project, branch="feature/one", title="x", body="")
    assert replay.made()[-1] == ("POST", f"{REPO}/pulls")


async def test_open_pull_requests_are_looked_for_on_every_page(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    wanted = replay.recorded("gitea/api-get-pull-open")["json"]
    other = wanted | {"number": 2, "head": wanted["head"] | {"ref": "another"}}
    replay.on("GET", f"{REPO}/pulls", 200, [other] * 50)
    replay.on("GET", f"{REPO}/pulls", 200, [wanted])
    assert (await gitea.open_pull(project, branch="feature/one", title="x", body="")).number == 1


async def test_a_pull_request_that_gitea_refuses_is_refused_with_its_word(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    replay.on("GET", f"{REPO}/pulls", 200, [])
    replay.recorded("gitea/api-err-422-pull-missing-fields")
    with pytest.raises(Refused, match=r"422 \[Base\]: Required"):
        await gitea.open_pull(project, branch="feature/one", title="x", body="")


async def test_a_merged_pull_request_tells_its_commit(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-pull-merged-rebase")
    pull = await gitea.pull(project, 4)
    assert (pull.open, pull.merged, pull.merge_commit) == (False, True, "1f5f30bdb0b3323bc67efc31d5990245ff53a87a")


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        ("none", CiStatus(CiState.NONE)),
        ("pending", CiStatus(CiState.PENDING, pending=("ci/unit",))),
        ("success", CiStatus(CiState.SUCCESS)),
        ("failure", CiStatus(CiState.FAILURE, failing=("ci/unit",))),
    ],
)
async def test_the_recorded_combined_status(
    gitea: GiteaClient, replay: Any, project: Project, recording: str, expected: CiStatus
) -> None:
    path = replay.recorded(f"gitea/api-get-combined-status-{recording}")["request"]["path"]
    assert await gitea.combined_status(project, path.split("/")[-2]) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["success", "warning", "skipped"], CiStatus(CiState.SUCCESS)),
        (["success", "error"], CiStatus(CiState.FAILURE, failing=("c1",))),
        (["failure", "pending"], CiStatus(CiState.FAILURE, failing=("c0",), pending=("c1",))),
        (["success", "a word of the future"], CiStatus(CiState.PENDING, pending=("c1",))),
    ],
)
async def test_the_worst_context_decides(
    gitea: GiteaClient, replay: Any, project: Project, words: list[str], expected: CiStatus
) -> None:
    statuses = [{"context": f"c{n}", "status": word} for n, word in enumerate(words)]
    replay.on("GET", f"{REPO}/commits/abc/status", 200, {"state": "", "total_count": 2, "statuses": statuses})
    assert await gitea.combined_status(project, "abc") == expected


async def test_a_failing_context_on_the_second_page_is_seen(gitea: GiteaClient, replay: Any, project: Project) -> None:
    green = [{"context": f"c{n}", "status": "success"} for n in range(50)]
    red = [{"context": "last", "status": "failure"}]
    replay.on("GET", f"{REPO}/commits/abc/status", 200, {"state": "success", "total_count": 51, "statuses": green})
    replay.on("GET", f"{REPO}/commits/abc/status", 200, {"state": "failure", "total_count": 51, "statuses": red})
    assert await gitea.combined_status(project, "abc") == CiStatus(CiState.FAILURE, failing=("last",))


async def test_a_branch_with_a_slash_has_its_tip(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-branch-slash-encoded")
    assert await gitea.branch_tip(project, "t/eight") == "5f505122007e81ba24875163647ade7e474013cb"


async def test_a_branch_that_is_not_there_has_none(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-err-404-branch")
    replay.recorded("gitea/api-get-repo")
    assert await gitea.branch_tip(project, "feature/one") is None


async def test_a_repository_that_is_not_there_is_not_taken_for_a_missing_branch(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    replay.recorded("gitea/api-err-404-branch")
    replay.on("GET", "/api/v1/repos/acme/widgets", 404, {"message": "The target couldn't be found."})
    with pytest.raises(Missing):
        await gitea.branch_tip(project, "feature/one")


async def test_a_bad_token_is_refused_without_being_told(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-err-401-bad-token")
    with pytest.raises(Refused) as raised:
        await gitea.fast_forward(project, number=1, commit=COMMIT)
    assert raised.value.status == 401
    assert "t0ken" not in str(raised.value)


async def test_the_tokens_own_login_is_known(gitea: GiteaClient, replay: Any) -> None:
    replay.recorded("gitea/api-get-user")
    assert await gitea.own_login() == "bot1"


async def test_a_gitea_before_1_22_has_no_fast_forward_merge(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-repo")
    replay.recorded("gitea/api-get-pull-open")
    assert await gitea.fast_forward(project, number=1, commit=COMMIT) is None
    assert replay.made() == [("GET", REPO), ("GET", f"{REPO}/pulls/1")]


@pytest.mark.parametrize(
    ("pull", "expected"),
    [
        ({"state": "closed", "merged": True, "merge_commit_sha": COMMIT}, Landed(COMMIT)),
        ({"state": "closed", "merged": True, "merge_commit_sha": "other"}, MovedOn("other")),
        ({"head": {"ref": "feature/one", "sha": "newer"}}, MovedOn("newer")),
    ],
)
async def test_what_a_person_did_meanwhile_is_seen_where_a_push_will_have_to_land_it_too(
    gitea: GiteaClient, replay: Any, project: Project, pull: dict[str, Any], expected: object
) -> None:
    replay.recorded("gitea/api-get-repo")
    opened = replay.recorded("gitea/api-get-pull-open")["json"]
    replay.replies[("GET", f"{REPO}/pulls/1")].clear()
    replay.on("GET", f"{REPO}/pulls/1", 200, opened | pull)
    assert await gitea.fast_forward(project, number=1, commit=COMMIT) == expected


async def test_a_fast_forward_lands_exactly_the_head(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    replay.on("POST", MERGE, 200)
    assert await gitea.fast_forward(project, number=1, commit=COMMIT) == Landed(COMMIT)
    assert replay.calls[-1].body == {"Do": "fast-forward-only", "head_commit_id": COMMIT}


async def test_what_is_landed_already_is_landed_without_another_try(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    replay.replies[("GET", f"{REPO}/pulls/1")].clear()
    merged = modern | {"state": "closed", "merged": True, "merge_commit_sha": COMMIT}
    replay.on("GET", f"{REPO}/pulls/1", 200, merged)
    assert await gitea.fast_forward(project, number=1, commit=COMMIT) == Landed(COMMIT)
    assert ("POST", MERGE) not in replay.made()


async def test_a_head_that_moved_is_not_landed(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    assert await gitea.fast_forward(project, number=1, commit="another") == MovedOn(COMMIT)
    assert ("POST", MERGE) not in replay.made()


async def test_a_closed_pull_request_is_refused(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    replay.replies[("GET", f"{REPO}/pulls/1")].clear()
    replay.on("GET", f"{REPO}/pulls/1", 200, modern | {"state": "closed"})
    with pytest.raises(Refused, match="closed unmerged"):
        await gitea.fast_forward(project, number=1, commit=COMMIT)


MERGED = {"state": "closed", "merged": True, "merge_commit_sha": COMMIT}


@pytest.mark.parametrize(
    ("status", "message", "pull_afterwards", "expected"),
    [
        (500, "", MERGED, Landed(COMMIT)),
        (405, "", MERGED, Landed(COMMIT)),
        (405, "", MERGED | {"merge_commit_sha": "other"}, MovedOn("other")),
        (500, "", {"merge_base": "older"}, MovedOn(BASE)),
        (409, "merge push out of date", {"merge_base": "older"}, MovedOn(BASE)),
        (409, "head out of date", {"head": {"ref": "feature/one", "sha": "newer"}}, MovedOn("newer")),
        (405, "fast-forward-only is not allowed an allowed merge style for this repository", {}, None),
        (422, "[Do]: In", {}, None),
        (405, "Does not have enough approvals", {}, Protected("Does not have enough approvals")),
        (403, "", {}, Protected("Gitea refuses the merge without a reason.")),
        (409, "PushRejected with remote message: no", {}, Protected("PushRejected with remote message: no")),
        (
            403,
            "user should have a permission to write to a repo",
            {},
            Protected("user should have a permission to write to a repo"),
        ),
    ],
)
async def test_what_a_failed_merge_means(
    gitea: GiteaClient,
    replay: Any,
    project: Project,
    modern: dict[str, Any],
    status: int,
    message: str,
    pull_afterwards: dict[str, Any],
    expected: object,
) -> None:
    replay.on("POST", MERGE, status, {"message": message})
    replay.on("GET", f"{REPO}/pulls/1", 200, modern | pull_afterwards)
    assert await gitea.fast_forward(project, number=1, commit=COMMIT) == expected


@pytest.mark.parametrize(
    ("status", "message"), [(500, ""), (405, "Please try again later"), (409, "head out of date"), (405, "")]
)
async def test_a_merge_that_may_work_later_is_unavailable(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any], status: int, message: str
) -> None:
    replay.on("POST", MERGE, status, {"message": message})
    with pytest.raises(Unavailable):
        await gitea.fast_forward(project, number=1, commit=COMMIT)


async def test_a_pull_request_is_marked_as_merged_by_hand_where_that_is_allowed(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    replay.on("POST", MERGE, 200)
    replay.on("GET", f"{REPO}/pulls/1", 200, modern | MERGED)
    await gitea.mark_landed(project, number=1, commit=COMMIT)
    assert [call.body for call in replay.calls if call.method != "GET"] == [
        {"Do": "manually-merged", "MergeCommitID": COMMIT}
    ]


async def test_else_it_is_closed_with_one_comment(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    text = f"Landed as {COMMIT}."
    replay.on("POST", MERGE, 405, {"message": "manually-merged is not allowed an allowed merge style"})
    persons = replay.recorded("gitea/api-post-comment")["json"]
    replay.on("GET", f"{REPO}/issues/1/comments", 200, [persons])
    replay.on("GET", f"{REPO}/issues/1/comments", 200, [persons, persons | {"body": text}])
    replay.on("PATCH", f"{REPO}/pulls/1", 500, {"message": "killed here"})
    replay.on("PATCH", f"{REPO}/pulls/1", 201, {})
    with pytest.raises(Unavailable):
        await gitea.mark_landed(project, number=1, commit=COMMIT)
    await gitea.mark_landed(project, number=1, commit=COMMIT)
    comments = [call.body for call in replay.calls if (call.method, call.path) == ("POST", f"{REPO}/issues/1/comments")]
    assert comments == [{"body": text}]
    assert replay.calls[-1].body == {"state": "closed"}


async def test_a_pull_request_that_is_closed_already_is_left_as_it_is(
    gitea: GiteaClient, replay: Any, project: Project, modern: dict[str, Any]
) -> None:
    replay.replies[("GET", f"{REPO}/pulls/1")].clear()
    replay.on("GET", f"{REPO}/pulls/1", 200, modern | {"state": "closed"})
    await gitea.mark_landed(project, number=1, commit=COMMIT)
    assert replay.made() == [("GET", f"{REPO}/pulls/1")]
