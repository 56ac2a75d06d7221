"""A tick under neighbours that hang: everything else has its turn, in the same tick or, where the time is short, in turn."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.counting import counted_requests
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from flows import reconcile
from pipeline.model import WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import deliveries, inbox, waits
from pipeline.store.due import Standing
from tasks import due_items, guard, pending, republishing
from tasks.looks import Observed
from tasks.services import Services
from tasks.turns import TURN_S, rotated, side_by_side
from tests.support.hooks import plane_moved
from tests.support.services import Desk, open_desk
from tests.tasks.test_inbox import OWN, plane_says


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path) as opened:
        await opened.root.states.of(opened.project)
        yield opened


async def test_a_part_that_waits_takes_no_other_parts_turn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    last_had_its_turn = asyncio.Event()

    async def waits(_: Services) -> list[str]:
        await last_had_its_turn.wait()
        return ["went on"]

    async def last(_: Services) -> list[str]:
        last_had_its_turn.set()
        return ["had its turn"]

    monkeypatch.setattr(reconcile, "PARTS", (waits, waits, waits, last))
    assert await reconcile.tick(desk.root) == ["went on", "went on", "went on", "had its turn"]


async def test_a_part_that_takes_too_long_is_ended_and_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def _polls(_: Services) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(reconcile, "PARTS", (_polls,))
    monkeypatch.setattr(reconcile, "PART_S", 0.1)
    assert await reconcile.tick(desk.root) == ["polls failed: it took longer than 0.1 s"]


def test_parts_that_all_take_as_long_as_they_may_end_before_the_deadline() -> None:
    assert reconcile.PART_S < reconcile.DEADLINE_S / 2


@pytest.mark.parametrize("number", [1, 2, 5, 7, 20, 60, 500])
def test_each_of_those_who_wait_comes_first_at_some_tick(desk: Desk, number: int) -> None:
    ticks = [desk.clock.now + timedelta(seconds=TURN_S * tick) for tick in range(number)]
    assert {rotated(range(number), now)[0] for now in ticks} == set(range(number))
    assert sorted(rotated(range(number), ticks[-1])) == list(range(number))


def test_where_nobody_waits_nobody_comes_first(desk: Desk) -> None:
    assert rotated([], desk.clock.now) == []


async def test_what_is_done_side_by_side_is_done_to_the_end_whoever_fails() -> None:
    done = asyncio.Event()

    async def fails() -> None:
        raise ValueError("no")

    async def goes_on() -> None:
        await asyncio.sleep(0.05)
        done.set()

    with pytest.raises(ValueError, match="no"):
        await side_by_side(fails(), goes_on())
    assert done.is_set()


def waits_for_ci(desk: Desk) -> WorkItem:
    item = desk.item(Stage.DEVELOPMENT, tip="a" * 40, head="a" * 40)
    desk.store.write(
        waits.begin, item, WaitKind.CI, key=f"ci-{item.key}", sentence="CI", now=desk.clock.now,
        look_again_at=desk.clock.now,
    )  # fmt: skip
    return item


async def test_an_item_whose_forge_hangs_comes_behind_the_others_at_the_next_tick(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_items, "ITEM_S", 0.3)
    item, did = waits_for_ci(desk), list[str]()
    desk.sandbox.hang("gitea")
    found = [Standing(item, desk.wait_of(item))]
    await due_items._heal(desk.root, found, Observed({}, {}), guard.Guard(desk.root), did)
    assert did == [f"{item.key}: could not be looked at within 0.3 s"]
    wait = desk.wait_of(item)
    assert wait is not None
    assert wait.look_again_at == desk.clock.now + timedelta(seconds=desk.settings.ci_look_again_s)


def test_those_that_ask_outside_and_those_that_do_not_are_seen_to_side_by_side(desk: Desk) -> None:
    waiting, abandoned, backing_off = waits_for_ci(desk), desk.item(Stage.REVIEW), desk.item(Stage.REVIEW)
    depending = desk.item(Stage.REVIEW)
    desk.store.write(
        waits.begin, depending, WaitKind.DEPENDENCY, key="d", sentence="another", now=desk.clock.now,
        look_again_at=desk.clock.now,
    )  # fmt: skip
    desk.store.write(
        waits.begin, backing_off, WaitKind.BACK_OFF, key="b", sentence="away", now=desk.clock.now,
        look_again_at=desk.clock.now,
    )  # fmt: skip
    desk.clock.forward(3600)
    groups, _ = desk.store.read(due_items._find, desk.root)
    assert [[one.item.key for one in group] for group in groups if group] == [
        [backing_off.key], [waiting.key], [depending.key], [abandoned.key],
    ]  # fmt: skip


async def test_a_plane_that_hangs_is_asked_for_one_card_a_tick(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ASK_S", 0.3)
    items = [desk.item(Stage.TESTING) for _ in range(3)]
    desk.sandbox.hang("plane")
    asked = guard.Guard(desk.root)
    with counted_requests({}) as requests:
        assert all([await asked(item) for item in items])
    assert requests == {"other": 1}


async def test_the_signals_of_others_are_applied_while_those_of_one_hang(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republishing, "DRAIN_S", 0.3)
    hanging, other = desk.item(Stage.REVIEW, pull_number=1), desk.item(Stage.REVIEW)
    rejected = {"kind": "rejected", "reviewer": "ada", "number": 1}
    for item, signal, payload in ((hanging, Signal.REVIEW_SUBMITTED, rejected), (other, Signal.PUSHED, {})):
        desk.store.write(
            inbox.signal, delivery_id=None, project="SHOP", item_key=item.key, signal=signal, actor="ada",
            payload=payload, now=desk.clock.now,
        )  # fmt: skip
    desk.clock.forward(desk.settings.republish_s[-1])
    desk.sandbox.hang("gitea")
    did = await republishing.publish_again(desk.root)
    assert f"{hanging.key}: its signals could not be applied within 0.3 s" in did
    assert [stored.item_key for stored in desk.store.read(inbox.unconsumed)] == [hanging.key]


async def test_what_needs_no_answer_of_a_plane_that_hangs_is_understood(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "ASK_S", 0.3)
    asks, plain = desk.card(), desk.card()
    untold = json.loads(plane_moved(desk, asks, "To Analyse"))
    del untold["data"]["sequence_id"]
    for _ in range(2):
        plane_says(desk, json.dumps(untold).encode(), None)
        untold["data"]["name"] = "Another"
    plane_says(desk, plane_moved(desk, plain, "To Analyse"), None)
    desk.sandbox.hang("plane")
    with counted_requests({}) as requests:
        assert await pending.resolve_pending(desk.root, OWN) == (plain.key,)
    assert requests == {"other": 1}
    assert len(desk.store.read(deliveries.pending)) == 2
