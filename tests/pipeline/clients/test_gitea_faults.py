"""What a caller sees of a Gitea that misbehaves, how often it is asked, and that what was done is not done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.states import exception_to_failed_state
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from pipeline.clients import http
from pipeline.clients.gitea import GiteaClient
from pipeline.errors import Missing, OrchError, Refused, Unavailable
from pipeline.model import Landed
from pipeline.projects import Project
from tasks.landing import land, open_pull
from tasks.retry import transient
from tests.support.faulty import (
    Fault,
    Request,
    Step,
    answer,
    cut,
    drop,
    faulty_server,
    gigantic,
    hang,
    page,
    passed,
    redirect,
)

TOKEN = "very-secret-token"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
OPTIONS = Options()


@asynccontextmanager
async def calling(url: str, token: str = TOKEN) -> AsyncIterator[GiteaClient]:
    async with GiteaClient(url, SecretStr(token)) as client:
        yield client


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that a test can wait for; see `hanging` for time-outs."""
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1024 * 1024)


# --- one call, one exception

Call = Callable[[GiteaClient, Project], Awaitable[object]]
CALLS: dict[str, Call] = {
    "open_pull": lambda g, p: g.open_pull(p, branch="feature/one", title="x", body=""),
    "pull": lambda g, p: g.pull(p, 1),
    "recent_pulls": lambda g, p: g.recent_pulls(p, changed_since=LONG_AGO),
    "reviews": lambda g, p: g.reviews(p, 1),
    "comments": lambda g, p: g.comments(p, 1),
    "comment": lambda g, p: g.comment(p, 1, "x"),
    "combined_status": lambda g, p: g.combined_status(p, "abc"),
    "branch_tip": lambda g, p: g.branch_tip(p, "feature/one"),
    "delete_branch": lambda g, p: g.delete_branch(p, "feature/one"),
    "file": lambda g, p: g.file(p, "a.txt", ref="main"),
    "hook_state": lambda g, p: g.hook_state(p, url="http://orch/hook"),
    "ensure_hook": lambda g, p: g.ensure_hook(p, url="http://orch/hook", secret=SecretStr("s")),
    "fast_forward": lambda g, p: g.fast_forward(p, number=1, commit="abc"),
    "mark_landed": lambda g, p: g.mark_landed(p, number=1, commit="abc"),
    "own_login": lambda g, p: g.own_login(),
}
FAULTS: dict[str, tuple[Fault, type[OrchError], int | None, str]] = {
    "bad token": (answer(401, {"message": f"invalid token {TOKEN}"}), Refused, 401, "401 invalid token ***"),
    "not allowed": (answer(403, {"message": "no permission"}), Refused, 403, "403 no permission"),
    "not there": (answer(404, {"message": "The target couldn't be found."}), Missing, 404, "couldn't be found"),
    "not there, says a proxy": (page(404), Unavailable, 404, "Log in"),
    "conflict": (answer(409, {"message": "exists"}), Refused, 409, "409 exists"),
    "invalid": (answer(422, {"message": "[Title]: Required"}), Refused, 422, "[Title]: Required"),
    "too many": (answer(429, {"message": "slow down"}, {"Retry-After": "0.2"}), Unavailable, 429, "slow down"),
    "broken": (answer(500, {"message": "", "url": "u"}), Unavailable, 500, "is not available"),
    "bad gateway": (page(502), Unavailable, 502, "is not available"),
    "reset before the answer": (drop(), Unavailable, None, "cannot be reached"),
    "reset in the body": (cut({"login": "x" * 100}), Unavailable, None, "cannot be reached"),
    "moved": (redirect("/api/v1/repos/acme/renamed", 307), Unavailable, 307, "it redirects to another address"),
    "a log-in page": (page(200), Unavailable, 200, "something else than JSON"),
    "gigantic": (gigantic(), Unavailable, 200, "is larger than"),
}
WRONG_TYPES = answer(200, [{"id": "seven", "login": 7, "number": {}, "commit": [], "statuses": "x"}])


LOOKS_AGAIN = {"branch_tip", "file", "delete_branch"}
"""Calls that look once more, at the repository or at the branch, before they believe a 404 or a 500."""


async def seen(call: Call, gitea: GiteaClient, project: Project) -> OrchError | None:
    """What the caller is given to see."""
    try:
        await call(gitea, project)
    except OrchError as error:
        return error
    return None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_gitea_is_one_typed_exception_whatever_was_called(fault: str, project: Project) -> None:
    step, kind, status, text = FAULTS[fault]
    with faulty_server([step]) as server:
        async with calling(server.url) as gitea:
            for name, call in CALLS.items():
                server.requests.clear()
                error = await seen(call, gitea, project)
                assert (name, type(error), getattr(error, "status", None)) == (name, kind, status)
                assert text in str(error)
                assert TOKEN not in f"{error} {error!r}"
                assert len(server.made) == len(set(server.made)) <= (2 if name in LOOKS_AGAIN else 1), name


async def test_wrong_types_are_a_fault_of_the_moment(project: Project) -> None:
    with faulty_server([WRONG_TYPES]) as server:
        async with calling(server.url) as gitea:
            for name in CALLS.keys() - {"file", "delete_branch"}:  # a list is a folder, and deleting reads nothing
                error = await seen(CALLS[name], gitea, project)
                assert isinstance(error, Unavailable), name
                assert "is not as expected" in str(error)


async def test_a_gitea_that_never_answers_is_unavailable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 0.2)
    with faulty_server([hang()]) as server:
        async with calling(server.url) as gitea:
            with pytest.raises(Unavailable, match="has not answered"):
                await gitea.open_pull(project, branch="feature/one", title="x", body="")


async def test_how_long_to_stay_away_is_told(project: Project) -> None:
    with faulty_server([FAULTS["too many"][0]]) as server:
        async with calling(server.url) as gitea:
            with pytest.raises(Unavailable) as raised:
                await gitea.pull(project, 1)
    assert raised.value.retry_after == 0.2


async def test_a_renamed_repository_is_never_followed_with_the_token_or_a_write(project: Project) -> None:
    with faulty_server([answer(200, {})]) as elsewhere, faulty_server([redirect(elsewhere.url, 307)]) as server:
        async with calling(server.url) as gitea:
            for call in CALLS.values():
                with pytest.raises(Unavailable, match="check the address that is configured here"):
                    await call(gitea, project)
    assert elsewhere.requests == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_tasks_repeat_what_is_unavailable_three_times_and_refusals_never(fault: str, project: Project) -> None:
    step, kind, _, _ = FAULTS[fault]
    with faulty_server([step]) as server:
        async with calling(server.url) as gitea:
            try:
                await gitea.own_login()
            except OrchError as error:
                state = await exception_to_failed_state(error)
    for task in (land, open_pull):
        assert (task.retries, task.retry_condition_fn) == (3, transient)
        assert await transient(task, None, state) is (kind is Unavailable)  # type: ignore[arg-type]


# --- done, and nobody was told


LOST = {"500": answer(500), "502": page(502), "reset": drop(), "cut": cut({"number": 1})}


def losing(method: str, fault: Fault) -> Step:
    """A step for all requests: the first of this method is carried out and its answer lost; everything else passes."""
    lost: list[Request] = []

    def step(request: Request) -> Fault:
        if request.method != method or lost:
            return passed()
        lost.append(request)
        return passed(then=fault)

    return step


@asynccontextmanager
async def losing_gitea(sandbox: SandboxClient, method: str, lost: str) -> AsyncIterator[GiteaClient]:
    with faulty_server([losing(method, LOST[lost])] * 99, behind=sandbox.gitea_url) as server:
        async with calling(server.url, OPTIONS.gitea_bot_token) as client:
            yield client


async def twice(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a task does: the first try fails, the second finds what was done."""
    with pytest.raises(Unavailable):
        await call()
    return await call()


@pytest.mark.parametrize("lost", LOST)
async def test_a_pull_request_that_was_opened_all_the_same_is_found(
    sandbox: SandboxClient, shop: Project, lost: str
) -> None:
    branch = f"feature/opened-{lost}"
    sandbox.commit(branch, {f"{lost}.txt": "x"}, who="api")
    async with losing_gitea(sandbox, "POST", lost) as gitea:
        pull = await twice(lambda: gitea.open_pull(shop, branch=branch, title=branch, body=""))
        all_of_it = [one for one in await gitea.recent_pulls(shop, changed_since=LONG_AGO) if one.branch == branch]
    assert all_of_it == [pull]


@pytest.mark.parametrize("lost", LOST)
async def test_a_merge_that_happened_all_the_same_is_seen_in_the_same_call(
    sandbox: SandboxClient, shop: Project, lost: str
) -> None:
    branch = f"feature/merged-{lost}"
    commit = sandbox.commit(branch, {f"{lost}.txt": "merged"}, who="api")
    async with calling(sandbox.gitea_url, OPTIONS.gitea_bot_token) as plain:
        pull = await plain.open_pull(shop, branch=branch, title=branch, body="")
    async with losing_gitea(sandbox, "POST", lost) as gitea:
        for _ in range(2):
            assert await gitea.fast_forward(shop, number=pull.number, commit=commit) == Landed(commit)
    assert sandbox.repository().main_tips.count(commit) == 1


@pytest.mark.parametrize("lost", LOST)
async def test_a_comment_that_was_written_all_the_same_is_there_once(
    sandbox: SandboxClient, shop: Project, lost: str
) -> None:
    branch = f"feature/said-{lost}"
    sandbox.commit(branch, {f"{lost}.txt": "x"}, who="api")
    async with calling(sandbox.gitea_url, OPTIONS.gitea_bot_token) as plain:
        pull = await plain.open_pull(shop, branch=branch, title=branch, body="")
    async with losing_gitea(sandbox, "POST", lost) as gitea:
        await twice(lambda: gitea.comment(shop, pull.number, "Said once."))
        assert [one.text for one in await gitea.comments(shop, pull.number)] == ["Said once."]


@pytest.mark.parametrize("lost", LOST)
async def test_a_hook_that_was_made_all_the_same_is_there_once(
    sandbox: SandboxClient, shop: Project, lost: str
) -> None:
    url = f"http://127.0.0.1:9/{lost}"
    async with losing_gitea(sandbox, "POST", lost) as gitea:
        made = await twice(lambda: gitea.ensure_hook(shop, url=url, secret=SecretStr("s")))
        assert await gitea.hook_state(shop, url=url) == made
    assert made.sound


@pytest.mark.parametrize("lost", LOST)
async def test_a_branch_that_was_deleted_all_the_same_is_gone(sandbox: SandboxClient, shop: Project, lost: str) -> None:
    branch = f"feature/gone-{lost}"
    sandbox.commit(branch, {f"{lost}.txt": "x"}, who="api")
    async with losing_gitea(sandbox, "DELETE", lost) as gitea:
        if lost == "500":  # Gitea's answer for what is not there, so it is looked at in the same call
            await gitea.delete_branch(shop, branch)
        else:
            await twice(lambda: gitea.delete_branch(shop, branch))
        assert await gitea.branch_tip(shop, branch) is None


async def test_a_pull_request_that_was_closed_all_the_same_is_closed_with_one_comment(tmp_path: Path) -> None:
    options = Options(gitea_version="1.21.0", allow_manual_merge=False)
    async with running_sandbox(tmp_path / "sandbox", options=options) as sandbox:
        sandbox.ci("off")
        plane_project = UUID(sandbox.state().project("SHOP").id)
        shop = Project(key="SHOP", plane_project=plane_project, repository="acme/shop", test_command=("true",))
        commit = await asyncio.to_thread(sandbox.commit, "feature/closed", {"c.txt": "x"}, who="api")
        async with losing_gitea(sandbox, "PATCH", "500") as gitea:
            pull = await gitea.open_pull(shop, branch="feature/closed", title="closed", body="")
            await twice(lambda: gitea.mark_landed(shop, number=pull.number, commit=commit))
            assert not (await gitea.pull(shop, pull.number)).open
            assert [one.text for one in await gitea.comments(shop, pull.number)] == [f"Landed as {commit}."]
