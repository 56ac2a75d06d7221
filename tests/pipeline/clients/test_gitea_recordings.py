"""Every recorded answer of a real Gitea, through the client: what its caller gets."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clients.gitea import GiteaClient
from pipeline.clients.http import HttpApi
from pipeline.errors import Missing, OrchError, Refused, Unavailable
from pipeline.model import CiState, CiStatus, Pull, Subscription
from pipeline.projects import Project

CAPTURES = Path(__file__).parents[2] / "captures" / "gitea"
REPO = "/api/v1/repos/acme/widgets"
CI_COMMIT = "6ac55ca564ee6d873b537f968392beddc0d46627"
HEAD, MERGED = "d64dc2ef8e0fc122352712a343d84504370bd728", "1f5f30bdb0b3323bc67efc31d5990245ff53a87a"
URL = "http://127.0.0.1:3300/acme/widgets/pulls"
HOOK = "http://127.0.0.1:3399/hook"


def at(hour: int, minute: int, second: int) -> datetime:
    return datetime(2026, 11, 21, hour, minute, second, tzinfo=UTC)


FIRST = Pull(1, f"{URL}/1", True, False, "feature/one", HEAD, "main", at(1, 49, 2))
FOURTH = Pull(4, f"{URL}/4", False, True, "t/rebase", MERGED, "main", at(1, 54, 34), MERGED, "bot1")

Call = Callable[[GiteaClient, Project], Awaitable[object]]


def _fast_forward(gitea: GiteaClient, project: Project) -> Awaitable[object]:
    return gitea.fast_forward(project, number=1, commit=HEAD)


READ: dict[str, tuple[Call, object]] = {
    "api-get-branch": (lambda g, p: g.branch_tip(p, "main"), "28f378febcde269efc7d5fb79cee24a80f8ba39a"),
    "api-get-branch-slash-encoded": (
        lambda g, p: g.branch_tip(p, "t/eight"),
        "5f505122007e81ba24875163647ade7e474013cb",
    ),
    "api-get-combined-status-none": (lambda g, p: g.combined_status(p, "main"), CiStatus(CiState.NONE)),
    "api-get-combined-status-pending": (
        lambda g, p: g.combined_status(p, CI_COMMIT),
        CiStatus(CiState.PENDING, pending=("ci/unit",)),
    ),
    "api-get-combined-status-failure": (
        lambda g, p: g.combined_status(p, CI_COMMIT),
        CiStatus(CiState.FAILURE, failing=("ci/unit",)),
    ),
    "api-get-combined-status-success": (lambda g, p: g.combined_status(p, CI_COMMIT), CiStatus(CiState.SUCCESS)),
    "api-get-contents-file": (lambda g, p: g.file(p, "src/app.py", ref="main"), b"print(1)\n"),
    "api-get-hooks": (lambda g, p: g.hook_state(p, url=f"{HOOK}/else"), None),
    "api-get-pull-merged-rebase": (lambda g, p: g.pull(p, 4), FOURTH),
    "api-get-pull-open": (lambda g, p: g.pull(p, 1), FIRST),
    "api-get-user": (lambda g, p: g.own_login(), "bot1"),
    "api-list-pulls-open": (lambda g, p: g.open_pull(p, branch="feature/one", title="x", body=""), FIRST),
    "api-delete-branch": (lambda g, p: g.delete_branch(p, "feature/api-branch"), None),
    "api-err-404-delete-branch": (lambda g, p: g.delete_branch(p, "feature/one"), None),
}
"""One call that is answered by the recording alone, and what it gives."""

WITH_A_READ: dict[str, tuple[str, object, Call, object]] = {
    "api-post-pull": (
        f"{REPO}/pulls",
        [],
        lambda g, p: g.open_pull(p, branch="feature/one", title="First pull", body="body"),
        FIRST,
    ),
    "api-get-repo": (f"{REPO}/pulls/1", "api-get-pull-open", _fast_forward, None),  # 1.21 has no such merge style
    "api-auth-bearer-ok": (f"{REPO}/pulls/1", "api-get-pull-open", _fast_forward, None),
    "api-post-comment": (f"{REPO}/issues/1/comments", [], lambda g, p: g.comment(p, 1, "A comment"), None),
    "api-post-hook": (
        f"{REPO}/hooks",
        [],
        lambda g, p: g.ensure_hook(p, url=HOOK, secret=SecretStr("s"), events=("push", "create")),
        Subscription(3, HOOK),
    ),
}
"""The same where something else is read too: its path, and its answer or the recording of it."""

REFUSED: dict[str, tuple[type[OrchError], int, str]] = {
    "api-err-401-bad-token": (Refused, 401, "user does not exist [uid: 0, name: , keyid: 0]"),
    "api-err-403-outsider-branch": (Refused, 403, "user should have a permission to write to a repo"),
    "api-err-404-branch": (Missing, 404, "The target couldn't be found"),
    "api-err-404-contents-file": (Missing, 404, "GetContentsOrList"),
    "api-err-404-repo": (Missing, 404, "The target couldn't be found"),
    "api-err-409-duplicate-pull": (
        Refused,
        409,
        "pull request already exists for these targets [id: 1, issue_id: 1, head_repo_id: 3, base_repo_id: 3, "
        "head_branch: feature/one, base_branch: main]",
    ),
    "api-err-422-pull-missing-fields": (Refused, 422, "[Base]: Required"),
    "api-err-delete-default-branch": (Refused, 403, "can not delete default branch"),
}
"""What a refusal says."""

NO_ROUTE = ("api-get-compare", "api-get-pull-by-base-head")
"""Routes that Gitea does not have answer in plain text, byte for byte as proxies do; no call of Orch's relies on one."""

OF_A_MERGE = {
    "api-merge-405-already-merged",
    "api-merge-409-head-out-of-date",
    "api-merge-conflict",
    "api-merge-conflict-immediately",
    "api-merge-style-rebase-ok",
}
NOT_ASKED = {
    "api-post-review-approved": "Orch reviews nothing on the forge",
    "api-post-status-success": "CI posts statuses",
}
ELSEWHERE = {"api-get-reviews": "test_gitea_reading.py", "api-version": "test_gitea_hooks.py"}


def test_every_recorded_answer_has_its_place() -> None:
    places = [READ, WITH_A_READ, REFUSED, NO_ROUTE, OF_A_MERGE, NOT_ASKED, ELSEWHERE]
    assert sorted(name for place in places for name in place) == sorted(one.stem for one in CAPTURES.glob("api-*.json"))


@pytest.mark.parametrize(("name", "call", "expected"), [(name, *row) for name, row in READ.items()])
async def test_a_recorded_answer_is_read(
    gitea: GiteaClient, replay: Any, project: Project, name: str, call: Call, expected: object
) -> None:
    recording = replay.recorded(f"gitea/{name}")
    if recording["request"]["method"] == "DELETE":  # recorded with branches that Orch would not delete
        replay.on("DELETE", f"{REPO}/branches/feature%2Fapi-branch", recording["status"])
    assert await call(gitea, project) == expected


@pytest.mark.parametrize(
    ("name", "path", "found", "call", "expected"), [(name, *row) for name, row in WITH_A_READ.items()]
)
async def test_a_recorded_answer_is_read_with_another(
    gitea: GiteaClient, replay: Any, project: Project, name: str, path: str, found: Any, call: Call, expected: object
) -> None:
    if isinstance(found, str):
        replay.recorded(f"gitea/{found}")
    else:
        replay.on("GET", path, 200, found)
    request = replay.recorded(f"gitea/{name}")["request"]
    assert await call(gitea, project) == expected
    assert set(replay.made()[:2]) == {("GET", path), (request["method"], request["path"])}


@pytest.mark.parametrize(("name", "kind", "status", "said"), [(name, *row) for name, row in REFUSED.items()])
async def test_a_recorded_refusal_says_what_gitea_said(
    replay: Any, name: str, kind: type[Refused], status: int, said: str
) -> None:
    request = replay.recorded(f"gitea/{name}")["request"]
    api = HttpApi("Gitea", f"{replay.url}/api/v1/", secret=SecretStr("t0ken"))
    path = request["path"].removeprefix("/api/v1/")
    with pytest.raises(kind) as raised:
        await api.call(request["method"], path, body=request["body"])
    await api.aclose()
    assert (type(raised.value), raised.value.status) == (kind, status)
    assert str(raised.value) == f"Gitea refused {request['method']} {path}: {status} {said}."


@pytest.mark.parametrize("name", NO_ROUTE)
async def test_a_plain_text_answer_is_not_taken_for_giteas_word(replay: Any, name: str) -> None:
    request = replay.recorded(f"gitea/{name}")["request"]
    api = HttpApi("Gitea", f"{replay.url}/api/v1/", secret=SecretStr("t0ken"))
    with pytest.raises(Unavailable, match="404 page not found"):
        await api.call(request["method"], request["path"].removeprefix("/api/v1/"))
    await api.aclose()


# --- merging: a refusal is believed only after another look at the pull request


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api-merge-405-already-merged", "Unavailable"),
        ("api-merge-409-head-out-of-date", "Unavailable"),
        ("api-merge-conflict", "Unavailable"),
        ("api-merge-conflict-immediately", "Unavailable"),
        ("api-merge-style-rebase-ok", "Landed"),
    ],
)
async def test_a_recorded_answer_to_a_merge_of_a_pull_request_that_looks_as_before(
    gitea: GiteaClient, replay: Any, project: Project, name: str, expected: object
) -> None:
    repository = replay.recorded("gitea/api-get-repo")["json"]
    replay.replies.clear()
    replay.on("GET", REPO, 200, repository | {"allow_fast_forward_only_merge": True})
    replay.recorded("gitea/api-get-pull-open")
    recording = replay.recorded(f"gitea/{name}")
    answered = recording["text"] if recording["json"] is None else recording["json"]
    replay.on("POST", f"{REPO}/pulls/1/merge", recording["status"], answered)
    try:
        outcome: object = await gitea.fast_forward(project, number=1, commit=HEAD)
    except OrchError as error:
        outcome = error
    assert expected in (outcome, type(outcome).__name__)
