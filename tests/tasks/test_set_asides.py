"""A database that a later version has written, under this one: what it does not know is set aside, the rest goes on."""

from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import Session

from deployments import control, operator
from deployments.checkup import machine
from deployments.checkup.finding import Grade
from deployments.receiver.queue_view import queue_view
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox
from pipeline.store.tables import DeliveryRow, SignalRow, WorkItemRow
from tasks import republishing
from tasks.pending import resolve_pending
from tasks.polling import poll_board
from tasks.set_asides import tell_what_is_set_aside
from tasks.signals import drain
from tests.support.deliveries import OWN, plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk

NEW = "sbom_ready"


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def of_later(desk: Desk, table: type[Any], number: int | None, **columns: Any) -> None:
    def write(session: Session) -> None:
        session.execute(update(table).where(table.id == number).values(**columns))

    desk.store.write(write)


def heard(desk: Desk, key: str, signal: Signal = Signal.CI_FINISHED) -> int:
    stored = desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=key, signal=signal, actor="ci", payload={},
        now=desk.clock.now,
    )  # fmt: skip
    return stored.id


async def test_a_signal_of_a_later_version_keeps_no_other_from_being_applied_or_announced(desk: Desk) -> None:
    item, other = desk.item(Stage.REVIEW), desk.item(Stage.REVIEW)
    of_later(desk, SignalRow, heard(desk, item.key), signal=NEW)
    heard(desk, item.key)
    heard(desk, other.key)
    assert len(await drain(desk.root, item.key)) == 1
    desk.clock.forward(desk.settings.republish_s[-1])
    assert len(await republishing.publish_again(desk.root)) == 1
    assert [(row.signal, row.consumed_at is None) for row in desk.signals] == [
        (NEW, True), (Signal.CI_FINISHED, False), (Signal.CI_FINISHED, False),
    ]  # fmt: skip


async def test_people_are_told_once_and_it_is_seen_in_the_queue_and_by_the_doctor(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    of_later(desk, WorkItemRow, item.id, hold=NEW)
    for told in (1, 0):
        assert len(await tell_what_is_set_aside(desk.root)) == told
    [message] = [row.payload["html"] for row in desk.letters if row.kind == "message"]
    what = f"hold 'sbom_ready' of {item.key}"
    assert what in message
    assert desk.store.read(queue_view, desk.root)["set_aside"] == [what]
    assert [row["why"] for row in operator.overview(desk.settings)] == [
        "It is set aside: a later version of Orch has written of it what this one does not know. Start that again."
    ]
    found = machine.look_at_database(desk.settings)
    assert found.grade is Grade.LESS
    assert what in found.sentence


async def test_a_delivery_that_a_later_version_stored_is_listed_as_failed_and_the_others_are_understood(
    desk: Desk,
) -> None:
    cards = [desk.card(), desk.card()]
    for card in cards:  # pending, for Orch does not know yet who it is outside
        plane_says(desk, plane_moved(desk, card, "To Analyse"), None)
    first = desk.deliveries[0]
    of_later(desk, DeliveryRow, first.id, inbound=[{**first.inbound[0], "signal": NEW}])
    assert await resolve_pending(desk.root, OWN) == (cards[1].key,)
    assert await resolve_pending(desk.root, OWN) == ()
    listed = control.latest_deliveries(desk.settings, failed=True, limit=9)
    [failed] = [one for one in listed if one["id"] == first.id]
    assert failed["note"].startswith("Another version of Orch has stored it, and this one does not understand it")


async def test_a_delivery_about_an_item_of_a_later_version_is_stored_and_waits_for_that(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.REVIEW, card)
    of_later(desk, WorkItemRow, item.id, stage="sbom")
    assert "which this version of Orch does not know" in plane_says(desk, plane_moved(desk, card, "Stop")).note
    assert await resolve_pending(desk.root, OWN) == ()
    assert [row.resolved_at for row in desk.deliveries] == [None]
    of_later(desk, WorkItemRow, item.id, stage="review")
    assert await resolve_pending(desk.root, OWN) == (item.key,)
    assert desk.again(item).cancel_requested_at is not None


async def test_a_board_with_the_card_of_such_an_item_is_looked_through_all_the_same(desk: Desk) -> None:
    card, other = desk.card(), desk.card()
    of_later(desk, WorkItemRow, desk.item(Stage.REVIEW, card).id, stage="sbom")
    for one in (card, other):
        desk.sandbox.move_card(one.key, "To Analyse")
    await poll_board(desk.root, desk.project)
    assert [row.item_key for row in desk.signals] == [other.key]


def test_orch_replay_says_what_waits_for_a_later_version(desk: Desk) -> None:
    card = desk.card()
    plane_says(desk, plane_moved(desk, card, "To Analyse"))
    [signal] = desk.signals
    of_later(desk, SignalRow, signal.id, signal=NEW)
    [said] = control.replay(desk.settings, [desk.deliveries[0].id or 0], None)
    assert "waits for the later version of Orch that has stored it" in said
