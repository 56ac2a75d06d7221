"""Gitea's client against the sandbox besides landing: webhooks that really arrive, reviews, branches, files."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from pipeline.clients.gitea import GiteaClient
from pipeline.errors import BadSignature, Refused
from pipeline.inbound.gitea import parse_gitea
from pipeline.model import ReviewKind
from pipeline.projects import Project
from tests.deployments.sandbox.receiver import Receiver

OPTIONS = Options()
FIRST, SECOND = SecretStr("first secret"), SecretStr("second secret")


@pytest.fixture
def project(shop: Project) -> Project:
    return shop


@pytest.fixture
async def gitea(sandbox: SandboxClient) -> AsyncIterator[GiteaClient]:
    async with GiteaClient(sandbox.gitea_url, SecretStr(OPTIONS.gitea_bot_token)) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


async def pull_of(gitea: GiteaClient, sandbox: SandboxClient, project: Project, branch: str) -> tuple[int, str]:
    commit = sandbox.commit(branch, {f"{branch}.txt": "x"}, who="api")
    return (await gitea.open_pull(project, branch=branch, title=branch, body="")).number, commit


# --- webhooks


async def test_a_hook_that_was_made_tells_what_orch_needs_and_nothing_else(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project, receiver: Receiver
) -> None:
    made = await gitea.ensure_hook(project, url=receiver.url, secret=FIRST)
    assert made.sound
    number, commit = await pull_of(gitea, sandbox, project, "feature/told")
    await gitea.comment(project, number, "Nobody needs to be told of this.")
    sandbox.review(number, "REQUEST_CHANGES")
    with sandbox.gitea_api() as api:
        api.post(f"/repos/acme/shop/statuses/{commit}", json={"state": "success", "context": "ci"}).raise_for_status()
    sandbox.close_pull(number)
    receiver.wait(lambda one: b'"closed"' in one.raw)
    told = [one.header("X-Gitea-Event-Type") for one in receiver.got]
    assert told == ["push", "pull_request", "pull_request_review_rejected", "status", "pull_request"]
    for one in receiver.got:
        parse_gitea(one.headers, one.raw, FIRST.get_secret_value())


async def test_a_secret_that_was_changed_is_the_one_that_signs_afterwards(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project, receiver: Receiver
) -> None:
    old = await gitea.ensure_hook(project, url=receiver.url, secret=FIRST)
    new = await gitea.ensure_hook(project, url=receiver.url, secret=SECOND)
    assert new.id != old.id
    assert await gitea.hook_state(project, url=receiver.url) == new
    sandbox.commit("feature/signed", {"signed.txt": "x"}, who="api")
    (told,) = receiver.wait_count(1)
    parse_gitea(told.headers, told.raw, SECOND.get_secret_value())
    with pytest.raises(BadSignature):
        parse_gitea(told.headers, told.raw, FIRST.get_secret_value())


async def test_a_hook_that_a_person_spoilt_is_seen_and_made_anew(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project, receiver: Receiver
) -> None:
    made = await gitea.ensure_hook(project, url=receiver.url, secret=FIRST)
    spoilt = {"active": False, "branch_filter": "main", "events": ["push"]}
    with sandbox.gitea_api() as api:
        api.patch(f"/repos/acme/shop/hooks/{made.id}", json=spoilt).raise_for_status()
    found = await gitea.hook_state(project, url=receiver.url)
    assert found is not None
    assert found.faults == (
        "it is switched off",
        "it tells only of branches like main",
        "it does not tell of pull_request_only, pull_request_review, status",
    )
    assert (await gitea.ensure_hook(project, url=receiver.url, secret=FIRST)).sound


async def test_who_may_only_read_cannot_have_a_hook_made(sandbox: SandboxClient, project: Project) -> None:
    async with GiteaClient(sandbox.gitea_url, SecretStr(OPTIONS.gitea_reader_token)) as eve:
        with pytest.raises(Refused) as raised:
            await eve.ensure_hook(project, url="http://127.0.0.1:9/hook", secret=FIRST)
    assert raised.value.status == 403


# --- reviews and pull requests


async def test_a_verdict_counts_until_the_same_person_gives_another(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "feature/reviewed")
    sandbox.review(number, "REQUEST_CHANGES", who="eve")
    sandbox.review(number, "REQUEST_CHANGES")
    first = await gitea.reviews(project, number)
    assert [(one.reviewer, one.kind, one.rejects, one.commit) for one in first] == [
        ("eve", ReviewKind.REJECTED, False, commit),
        ("ada", ReviewKind.REJECTED, True, commit),
    ]
    sandbox.commit("feature/reviewed", {"more.txt": "x"})
    sandbox.review(number, "APPROVED")
    then = await gitea.reviews(project, number)
    assert [(one.rejects, one.stale) for one in then] == [(False, True), (False, True), (False, False)]


async def test_what_changed_last_comes_first_and_older_changes_not_at_all(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    older, _ = await pull_of(gitea, sandbox, project, "feature/older")
    newer, _ = await pull_of(gitea, sandbox, project, "feature/newer")
    sandbox.close_pull(older)
    recent = await gitea.recent_pulls(project, changed_since=datetime.now(UTC) - timedelta(hours=1))
    assert [(one.number, one.branch, one.open) for one in recent[:2]] == [
        (older, "feature/older", False),
        (newer, "feature/newer", True),
    ]
    assert await gitea.recent_pulls(project, changed_since=datetime.now(UTC) + timedelta(hours=1)) == ()


# --- branches and files


async def test_a_task_branch_is_deleted_and_its_pull_request_closed_with_it(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, _ = await pull_of(gitea, sandbox, project, "feature/gone")
    for _ in range(2):
        await gitea.delete_branch(project, "feature/gone")
    await gitea.delete_branch(project, "feature/never-was")
    assert await gitea.branch_tip(project, "feature/gone") is None
    pull = await gitea.pull(project, number)
    assert (pull.open, pull.merged, pull.branch) == (False, False, "feature/gone")


async def test_a_file_is_read_where_it_is(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    sandbox.commit("feature/file", {"docs/työ ä#1.md": "käytössä\n"})
    assert await gitea.file(project, "docs/työ ä#1.md", ref="feature/file") == "käytössä\n".encode()
    assert await gitea.file(project, "docs/työ ä#1.md", ref="main") is None
