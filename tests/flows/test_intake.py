"""Intake without a Prefect server: what it leaves of a wish that nothing can come of, and who has to ask."""

import asyncio

import pytest

from flows import intake
from pipeline.errors import StaleWrite
from pipeline.model import Fail, Pass, TrackerItem, WorkItem
from pipeline.projects import Registry
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox, items, outbox
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
    told = {row.kind: row.payload["html"] for row in desk.letters if "html" in row.payload}
    assert all("too short" in told[kind] for kind in (outbox.Kind.MESSAGE, outbox.Kind.COMMENT))
    with pytest.raises(StaleWrite):
        starts(desk, candidate)
    assert desk.store.read(items.latest, card.key) is None


async def test_what_nobody_ever_asked_for_is_started_by_hand(desk: Desk) -> None:
    card = await asyncio.to_thread(desk.card)
    read = await desk.root.tracker.item(desk.project, card.id)
    assert starts(desk, intake._candidate(desk.root, desk.project, card.key, read))


# --- Plane does not give the card


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    """Cards are read without a Prefect server."""

    async def read_card(_project: str, key: str) -> TrackerItem:
        return await desk.root.tracker.item_by_key(desk.project, key)

    monkeypatch.setattr(intake.tracker, "read_card", read_card)


def said(desk: Desk, words: str) -> list[str]:
    return [row.item_key for row in desk.letters if row.kind == "message" and words in str(row.payload.get("html"))]


REFUSALS = [
    (401, {"detail": "Authentication credentials were not provided."}),
    (403, {"detail": "Given API token is not valid"}),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
@pytest.mark.usefixtures("reading")
async def test_a_start_that_plane_refuses_waits_until_that_is_mended_and_people_are_told_once(
    desk: Desk, status: int, body: object
) -> None:
    cards = [await asyncio.to_thread(desk.card) for _ in range(2)]
    for card in cards:
        asks(desk, card.key)
    desk.sandbox.fail_next("plane", 1000, status=status, body=body, match="/work-items/")
    for key in (cards[0].key, cards[1].key, cards[0].key):
        assert (await intake._intake(desk.root, key)).name == "Plane refuses"
    assert [one.item_key for one in desk.store.read(inbox.unconsumed)] == [card.key for card in cards]
    assert said(desk, "orch connect plane") == ["SHOP"]

    desk.sandbox.clear_faults()
    assert (await intake._intake(desk.root, cards[0].key)).name == "To analysis"
    assert desk.store.read(items.find, cards[0].key) is not None

    desk.clock.forward(30)
    desk.sandbox.fail_next("plane", 1000, status=status, body=body, match="/work-items/")
    await intake._intake(desk.root, cards[1].key)
    assert said(desk, "orch connect plane") == ["SHOP", "SHOP"], "it had worked in between"


@pytest.mark.usefixtures("reading")
async def test_the_start_of_a_card_that_is_gone_is_over_and_said(desk: Desk) -> None:
    card = await asyncio.to_thread(desk.card)
    asks(desk, card.key)
    gone = {"error": "The requested resource does not exist."}
    desk.sandbox.fail_next("plane", 1000, status=404, body=gone, match="/work-items/")
    for _ in range(2):
        assert (await intake._intake(desk.root, card.key)).name == "No such card"
    assert desk.store.read(inbox.unconsumed, card.key) == []
    assert said(desk, "its card is gone") == [card.key]
