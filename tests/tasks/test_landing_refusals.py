"""Landing by the forge's merge and by a push: the same answer to whatever is in the way, and nothing half landed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from pipeline.errors import Refused
from pipeline.model import Landed, MovedOn, Protected, WorkItem
from pipeline.stages import Stage
from pipeline.store import journal, leases
from pipeline.store.leases import Lease
from pipeline.store.outbox import BACK_OFF, Kind
from tasks import landing
from tasks.landing import MergeLock
from tasks.outbox import deliver
from tests.support.services import Desk

LOCK = MergeLock("SHOP")
MERGE, PUSH = "by the forge's merge", "by a push"
GITEA = {MERGE: Options(), PUSH: Options(gitea_version="1.21.11")}


@pytest.fixture(scope="module", params=GITEA)
def way(request: pytest.FixtureRequest) -> str:
    """How this module's sandbox lands."""
    way: str = request.param
    return way


@pytest.fixture(scope="module")
def sandbox(way: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), options=GITEA[way]) as client:
        client.ci("off")
        yield client


@pytest.fixture
def desk(desk: Desk, at_work: Callable[[Desk], None]) -> Iterator[Desk]:
    at_work(desk)
    yield desk
    desk.sandbox.protect("")


async def validated(desk: Desk, request: pytest.FixtureRequest) -> tuple[WorkItem, Lease]:
    """An item whose commit was validated on what the default branch is now, with Orch's pull request; owned by a run."""
    card, base = desk.card(), desk.sandbox.repository().main
    branch, name = f"feature/{card.key}-it", f"{card.key}-{request.node.name}.txt"
    tip = desk.sandbox.commit(branch, {name: "x"}, who="api")
    pull = await desk.root.forge.open_pull(desk.project, branch=branch, title=card.key, body="")
    item = desk.item(Stage.DEPLOY, card, tip=tip, validated=tip, validated_base=base, pull_number=pull.number)
    return item, desk.owned(item)


def journalled(desk: Desk, item: WorkItem) -> list[bool]:
    """Whether each landing on record is still open."""
    return [effect.open for effect in desk.store.read(journal.of_item, item.id) if effect.name == landing.LAND]


def nothing_landed(desk: Desk, item: WorkItem, main: str) -> None:
    assert desk.sandbox.repository().main == main
    assert desk.again(item).landed is None
    assert journalled(desk, item) == []


async def test_exactly_the_validated_commit_lands_once_and_its_pull_request_is_merged(
    desk: Desk, request: pytest.FixtureRequest
) -> None:
    item, lease = await validated(desk, request)
    for _ in range(2):
        assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")
        await deliver(desk.root, item.key)
    assert desk.sandbox.repository().main_tips.count(item.validated or "") == 1
    pull = desk.sandbox.repository().pull(item.pull_number or 0)
    assert (pull.merged, pull.merge_commit_sha) == (True, item.validated)
    assert journalled(desk, item) == [False]


async def test_a_pull_request_is_marked_when_gitea_is_back_whatever_has_become_of_its_item(
    desk: Desk, request: pytest.FixtureRequest, way: str
) -> None:
    item, lease = await validated(desk, request)
    await landing.land.fn(item.key, lease, LOCK)
    desk.store.write(leases.release, item.id, lease.token)
    desk.move(desk.again(item), Stage.DONE)
    desk.sandbox.fail_next("gitea", 100, status=503)
    await deliver(desk.root, item.key)
    desk.sandbox.clear_faults()
    desk.clock.forward(BACK_OFF[0])
    await deliver(desk.root, item.key)
    assert desk.sandbox.repository().pull(item.pull_number or 0).merged
    assert [row.sent_at is not None for row in desk.letters if row.kind == Kind.PULL] == [True]


async def test_nothing_lands_on_a_default_branch_that_moved_after_the_validation(
    desk: Desk, request: pytest.FixtureRequest
) -> None:
    item, lease = await validated(desk, request)
    moved = desk.sandbox.commit("main", {f"{item.key}.md": "somebody else's"})
    assert await landing.land.fn(item.key, lease, LOCK) == MovedOn(moved)
    nothing_landed(desk, item, moved)


async def test_nothing_lands_on_a_default_branch_that_moves_at_the_last_moment(
    desk: Desk, request: pytest.FixtureRequest, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, lease = await validated(desk, request)
    ask, moved = desk.root.forge.fast_forward, []

    async def overtaken(*args: Any, **more: Any) -> object:
        """Somebody pushes after Orch has looked: before the merge is asked for, or between the asking and the push."""
        if way == MERGE:
            moved.append(desk.sandbox.commit("main", {f"{item.key}.md": "overtakes"}))
        outcome = await ask(*args, **more)
        if way == PUSH:
            moved.append(desk.sandbox.commit("main", {f"{item.key}.md": "overtakes"}))
        return outcome

    monkeypatch.setattr(desk.root.forge, "fast_forward", overtaken)
    assert await landing.land.fn(item.key, lease, LOCK) == MovedOn(moved[0])
    nothing_landed(desk, item, moved[0])


async def test_nothing_lands_while_the_branch_has_what_a_person_pushed_since(
    desk: Desk, request: pytest.FixtureRequest
) -> None:
    item, lease = await validated(desk, request)
    main, newer = desk.sandbox.repository().main, desk.sandbox.commit(item.branch, {"more.txt": item.key})
    assert await landing.land.fn(item.key, lease, LOCK) == MovedOn(newer)
    nothing_landed(desk, item, main)


async def test_nothing_lands_of_a_pull_request_that_was_closed(desk: Desk, request: pytest.FixtureRequest) -> None:
    item, lease = await validated(desk, request)
    main = desk.sandbox.repository().main
    desk.sandbox.close_pull(item.pull_number or 0)
    with pytest.raises(Refused, match="was closed unmerged; reopen it, or stop its work item"):
        await landing.land.fn(item.key, lease, LOCK)
    nothing_landed(desk, item, main)


async def test_a_branch_that_takes_neither_merges_nor_pushes_says_why(
    desk: Desk, request: pytest.FixtureRequest, way: str
) -> None:
    item, lease = await validated(desk, request)
    main = desk.sandbox.repository().main
    desk.sandbox.protect("all")
    outcome = await landing.land.fn(item.key, lease, LOCK)
    assert isinstance(outcome, Protected)
    assert outcome.reason == "User not allowed to merge PR" or way == PUSH
    assert outcome.reason
    nothing_landed(desk, item, main)


async def test_a_branch_that_takes_no_pushes_takes_the_forges_merge(
    desk: Desk, request: pytest.FixtureRequest, way: str
) -> None:
    item, lease = await validated(desk, request)
    desk.sandbox.protect("push")
    outcome = await landing.land.fn(item.key, lease, LOCK)
    assert isinstance(outcome, Landed if way == MERGE else Protected)
    assert (desk.again(item).landed is not None) is (way == MERGE)


async def test_a_landing_whose_answer_was_lost_has_landed_once(
    desk: Desk, request: pytest.FixtureRequest, way: str
) -> None:
    item, lease = await validated(desk, request)
    desk.sandbox.fail_next("gitea", 1, status=500, match="/merge" if way == MERGE else "/git-receive-pack", after=True)
    assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")
    assert desk.sandbox.repository().main_tips.count(item.validated or "") == 1
