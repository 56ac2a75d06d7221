"""A signal that cannot be applied keeps no other from being applied, nor from being announced."""

from datetime import datetime
from typing import Any

import pytest
from sqlmodel import Session

from pipeline.model import WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox
from tasks.republishing import publish_again
from tasks.signals import drain
from tests.support.services import Desk

TOLD = "could not be applied: ValueError(\"invalid literal for int() with base 10: 'seven'\")"


def hear(desk: Desk, item: WorkItem, signal: Signal, payload: dict[str, Any]) -> None:
    desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=item.key, signal=signal, actor="ada", payload=payload,
        now=desk.clock.now,
    )  # fmt: skip


def unconsumed(desk: Desk) -> list[tuple[str, Signal]]:
    return [(stored.item_key, stored.signal) for stored in desk.store.read(inbox.unconsumed)]


def poisoned(desk: Desk) -> WorkItem:
    """An item that was told of a review of a pull request whose number is none, and then of a push."""
    item = desk.item(Stage.REVIEW)
    hear(desk, item, Signal.REVIEW_SUBMITTED, {"kind": "rejected", "reviewer": "ada", "number": "seven"})
    hear(desk, item, Signal.PUSHED, {"after": "b" * 40, "pusher": "orch-bot"})
    return item


async def test_the_signals_after_one_that_nobody_can_apply_are_applied_and_it_is_said(desk: Desk) -> None:
    item = poisoned(desk)
    first, second = await drain(desk.root, item.key)
    assert first == f"review_submitted: {TOLD}"
    assert second.startswith("pushed: ")
    assert unconsumed(desk) == [(item.key, Signal.REVIEW_SUBMITTED)]


async def test_the_items_after_one_with_such_a_signal_are_looked_at_in_the_same_tick(desk: Desk) -> None:
    first, second = poisoned(desk), desk.item(Stage.REVIEW)
    hear(desk, second, Signal.PUSHED, {"after": "b" * 40, "pusher": "orch-bot"})
    desk.clock.forward(desk.settings.republish_s[-1])
    did = await publish_again(desk.root)
    assert f"{first.key}: review_submitted: {TOLD}" in did
    assert sorted(sentence.split(":")[0] for sentence in did) == [first.key, first.key, second.key]
    assert unconsumed(desk) == [(first.key, Signal.REVIEW_SUBMITTED)]


async def test_a_signal_that_cannot_be_announced_keeps_no_other_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = desk.item(Stage.REVIEW), desk.item(Stage.REVIEW)
    for item in (first, second):
        hear(desk, item, Signal.PUSHED, {})
    published = inbox.published

    def no_room_for_the_first(session: Session, number: int, now: datetime) -> None:
        if number == desk.signals[0].id:
            raise RuntimeError("no room")
        published(session, number, now)

    monkeypatch.setattr(inbox, "published", no_room_for_the_first)
    assert await publish_again(desk.root) == [
        f"{first.key}: pushed could not be published again: RuntimeError('no room')"
    ]
    assert [stored.published for stored in desk.store.read(inbox.unconsumed)] == [0, 1]
