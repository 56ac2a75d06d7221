"""Intake without a Prefect server: what it leaves of a wish that nothing can come of, and who has to ask."""

import asyncio

import pytest

from flows import intake
from pipeline.errors import StaleWrite
from pipeline.model import Fail, Pass, WorkItem
from pipeline.projects import Registry
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox, items
from pipeline.store.inbox import StoredSignal
from tests.support.services import Desk


async def test_a_start_in_a_project_that_was_taken_out_of_the_registry_is_refused_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key="SHOP-7", signal=Signal.START_REQUESTED,
        actor="ada", payload={}, now=desk.clock.now,
    )  # fmt: skip
    object.__setattr__(desk.root, "projects", Registry())

    async def services() -> object:
        return desk.root

    monkeypatch.setattr(intake, "services", services)
    assert (await intake.intake.fn("SHOP-7")).name == "Unknown project"
    assert desk.store.read(inbox.unconsumed) == []
    assert [row.consequence for row in desk.signals] == ["refused: No project of the registry has items like SHOP-7."]


def asks(desk: Desk, key: str) -> StoredSignal:
    return desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=key, signal=Signal.START_REQUESTED, actor="ada",
        payload={}, now=desk.clock.now,
    )  # fmt: skip


def starts(desk: Desk, candidate: WorkItem) -> bool:
    """What a run of intake does once the card has turned out to be complete."""
    return desk.store.write(intake._create, desk.root, candidate, Pass("complete"))[1]


async def test_a_run_that_comes_after_the_stop_brings_nothing_back(desk: Desk) -> None:
    """Events come twice, and runs queue up; only a card that is moved to To Analyse again starts afresh."""
    card = await asyncio.to_thread(desk.card)
    read = await desk.root.tracker.item(desk.project, card.id)
    candidate = intake._candidate(desk.root, desk.project, card.key, read)
    asks(desk, card.key)
    assert starts(desk, candidate)
    desk.move(desk.store.read(items.find, card.key), Stage.CANCELLED)  # type: ignore[arg-type]  # it is there
    with pytest.raises(StaleWrite, match=f"Nobody asks for {card.key} to be started any more"):
        starts(desk, candidate)
    asks(desk, card.key)
    assert starts(desk, candidate)


async def test_a_run_that_comes_after_the_refusal_starts_nothing(desk: Desk) -> None:
    card = await asyncio.to_thread(desk.card)
    read = await desk.root.tracker.item(desk.project, card.id)
    candidate = intake._candidate(desk.root, desk.project, card.key, read)
    asks(desk, card.key)
    desk.store.write(intake._refuse, desk.root, candidate, read, Fail("too short"))
    with pytest.raises(StaleWrite):
        starts(desk, candidate)
    assert desk.store.read(items.latest, card.key) is None


async def test_what_nobody_ever_asked_for_is_started_by_hand(desk: Desk) -> None:
    card = await asyncio.to_thread(desk.card)
    read = await desk.root.tracker.item(desk.project, card.id)
    assert starts(desk, intake._candidate(desk.root, desk.project, card.key, read))
