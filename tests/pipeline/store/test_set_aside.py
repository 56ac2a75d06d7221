"""Rows that a later version has written: each is left as it is, is told of, and keeps no other row waiting."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import Session, select

from pipeline.errors import FromLaterVersion
from pipeline.model import Choice, Decision, Hold, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import WORKED, Stage, Status
from pipeline.store import due, inbox, items, leases, outbox, set_aside, transitions, waits
from pipeline.store.engine import Store
from pipeline.store.outbox import Kind
from pipeline.store.tables import DecisionRow, LeaseRow, OutboxRow, SignalRow, TransitionRow, WaitRow, WorkItemRow
from tests.pipeline.store.helpers import NOW, claimed, later, new_item

NEW = "sbom_ready"
AT_ONCE = 100


def signal(store: Store, item: WorkItem, kind: Signal = Signal.PUSHED) -> None:
    store.write(
        inbox.signal, delivery_id=None, project="WID", item_key=item.key, signal=kind, actor="ada", payload={}, now=NOW
    )


def letter(store: Store, item: WorkItem) -> None:
    store.write(outbox.put, Kind.MESSAGE, item.key, {}, NOW)


def wait(store: Store, item: WorkItem) -> None:
    store.write(
        waits.begin, item, WaitKind.CI, key=f"ci-{item.key}", sentence="CI", now=NOW, look_again_at=NOW, deadline=NOW
    )


def nothing(_store: Store, _item: WorkItem) -> None:
    """The item itself has the value."""


Given = Callable[[Store, WorkItem], Any]
UNKNOWN: dict[str, tuple[Given, type[Any], str]] = {
    "signal": (signal, SignalRow, "signal"),
    "letter": (letter, OutboxRow, "kind"),
    "stage": (nothing, WorkItemRow, "stage"),
    "hold": (nothing, WorkItemRow, "hold"),
    "wait": (wait, WaitRow, "kind"),
    "stage of the wait": (wait, WaitRow, "stage"),
    "stage of the lease": (claimed, LeaseRow, "stage"),
}
OF_ITEMS = ("stage", "hold", "wait", "stage of the wait", "stage of the lease")


def of_later(session: Session, table: type[Any], column: str) -> None:
    session.execute(update(table).values({column: NEW}))


def strange(store: Store, what: str) -> WorkItem:
    """An item of which a later version has written something."""
    given, table, column = UNKNOWN[what]
    item = new_item(store, "WID-1")
    given(store, item)
    store.write(of_later, table, column)
    return item


@pytest.mark.parametrize("what", UNKNOWN)
def test_each_is_told_of_and_what_this_version_writes_is_not(store: Store, what: str) -> None:
    strange(store, what)
    other = new_item(store, "WID-2")
    for given in (signal, letter, wait, claimed):
        given(store, other)
    [aside] = store.read(set_aside.all_of_them)
    assert (aside.what, aside.value, aside.items) == (what, NEW, ("WID-1",))
    assert aside.sentence == f"{what} 'sbom_ready' of WID-1"


@pytest.mark.parametrize("what", OF_ITEMS)
def test_an_item_with_one_is_in_no_listing_and_is_named_apart(store: Store, what: str) -> None:
    strange(store, what)
    other = new_item(store, "WID-2")
    wait(store, other)
    assert [item.key for item in store.read(items.live)] == ["WID-2"]
    assert [item.key for item in store.read(items.all_items)] == ["WID-2"]
    assert [item.key for item in store.read(set_aside.items)] == ["WID-1"]
    now, graces = later(9999), {stage: timedelta(0) for stage in WORKED}
    assert [one.item.key for one in store.read(due.looking_again, now, limit=AT_ONCE)] == ["WID-2"]
    assert [one.key for _, one in store.read(due.overdue, now, limit=AT_ONCE)] == ["WID-2"]
    assert store.read(due.abandoned, now, graces, limit=AT_ONCE) == []
    assert store.read(due.owned) == []
    assert store.read(due.stopping, limit=AT_ONCE) == []


@pytest.mark.parametrize("what", OF_ITEMS)
def test_who_asks_for_just_that_item_is_told(store: Store, what: str) -> None:
    item = strange(store, what)
    ask = {"stage of the lease": leases.owner, "wait": waits.open_wait, "stage of the wait": waits.open_wait}
    with pytest.raises(FromLaterVersion, match="is 'sbom_ready', which this version of Orch does not know"):
        store.read(ask[what], item.id) if what in ask else store.read(items.find, item.key)


def test_signals_and_letters_of_others_go_on_however_many_are_set_aside(store: Store) -> None:
    item = new_item(store, "WID-1")
    for _ in range(60):
        signal(store, item)
        letter(store, item)
    store.write(of_later, SignalRow, "signal")
    store.write(of_later, OutboxRow, "kind")
    signal(store, item, Signal.CI_FINISHED)
    letter(store, item)
    assert [one.signal for one in store.read(inbox.unconsumed, limit=1)] == [Signal.CI_FINISHED]
    assert len(store.write(outbox.claim, later(1))) == 1


def test_a_decision_of_another_kind_and_a_stage_of_the_past_are_passed_over(store: Store) -> None:
    item = new_item(store)
    store.write(waits.decide, item, Decision(WaitKind.APPROVAL, Choice.APPROVE, "a" * 40, "ada", "", NOW))
    store.write(of_later, DecisionRow, "kind")
    store.write(of_later, TransitionRow, "to_stage")
    assert store.read(waits.decisions, item.id) == ()
    assert store.read(transitions.history, item.id) == []


def test_a_card_that_shows_a_status_of_a_later_version_is_shown_anew(store: Store) -> None:
    item = new_item(store)
    store.write(of_later, WorkItemRow, "shown")
    found = store.read(items.find, item.key)
    assert found is not None
    assert found.shown is None
    assert store.read(set_aside.all_of_them) == []


def test_what_is_over_is_not_told_of(store: Store) -> None:
    item = strange(store, "signal")
    [number] = store.read(lambda session: session.exec(select(SignalRow.id)).all())
    store.write(inbox.consume, number or 0, "applied by the later version", NOW)
    store.write(items.hold, item.id, Hold.BLOCKED, "why", NOW)
    assert store.read(set_aside.all_of_them) == []


def test_the_values_here_are_none_of_ours() -> None:
    assert NEW not in {*Signal, *Stage, *Status, *Hold, *WaitKind, *Kind}


def test_what_is_done_is_not_looked_through_at_every_tick(store: Store) -> None:
    new_item(store)
    store.write(of_later, WorkItemRow, "hold")
    assert [aside.what for aside in store.read(set_aside.all_of_them)] == ["hold"]
    store.write(lambda session: session.execute(update(WorkItemRow).values(stage=Stage.DONE.value)) and None)
    assert store.read(set_aside.all_of_them) == []
    assert store.read(set_aside.items) == []
