"""A person moves a card between Orch's look at it and Orch's own move, and no webhook tells: the word counts all the same."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.model import WaitKind, WorkItem
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import outbox, waits
from tasks.outbox import deliver
from tests.support.deliveries import plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk

COMMIT = "c" * 40


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


class Killed(BaseException):
    """The sender's process is killed: nothing that comes after happens."""


class Interrupted:
    """The tracker, with something that happens just before Orch moves a card."""

    def __init__(self, tracker: Any, before: Callable[[], None]) -> None:
        self._tracker, self._before = tracker, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    async def set_state(self, project: Project, item_id: str, state_id: str) -> None:
        self._before()
        await self._tracker.set_state(project, item_id, state_id)


def asked(desk: Desk) -> WorkItem:
    """An item whose approval is asked for, and whose card does not show it yet."""
    item = desk.item(Stage.ANALYSIS, desk.card(state="In Progress"))
    desk.asks(item, WaitKind.APPROVAL, commit=COMMIT)
    desk.store.write(outbox.status, item.key, desk.clock.now)
    return item


def shown_while(desk: Desk, before: Callable[[], None]) -> Awaitable[int]:
    return deliver(replace(desk.root, tracker=Interrupted(desk.root.tracker, before)))


def decided(desk: Desk, item: WorkItem) -> list[tuple[str, str]]:
    return [(one.choice, one.commit) for one in desk.store.read(waits.decisions, item.id)]


async def test_what_orchs_own_move_has_replaced_is_heard_once(desk: Desk) -> None:
    item = asked(desk)
    await shown_while(desk, lambda: desk.sandbox.move_card(item.key, "Approved"))
    assert desk.sandbox.card(item.key).state == "In Review"
    assert decided(desk, item) == [("approve", COMMIT)]
    plane_says(desk, plane_moved(desk, desk.sandbox.card(item.key), "Approved"))
    assert [row.signal for row in desk.signals] == [Signal.APPROVED]


async def test_a_sender_that_dies_right_after_it_was_heard_leaves_nothing_to_be_heard_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = asked(desk)

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tasks.outbox._shown", dies)
        with pytest.raises(Killed):
            await shown_while(desk, lambda: desk.sandbox.move_card(item.key, "Approved"))
    desk.clock.forward(outbox.LONG_CLAIM.total_seconds())
    await deliver(desk.root)
    assert [row.signal for row in desk.signals] == [Signal.APPROVED]


async def test_a_state_that_orch_has_shown_and_did_not_come_to_note_gives_way(desk: Desk) -> None:
    """Plane went away between Orch's move and its log: nobody has put the card in review but Orch."""
    item = asked(desk)
    await shown_while(desk, lambda: desk.sandbox.fail_next("plane", 1, match="activities"))
    assert (desk.sandbox.card(item.key).state, desk.again(item).shown) == ("In Review", None)
    desk.move(item, Stage.ARCHITECTURE)
    desk.clock.forward(outbox.BACK_OFF[0])
    await deliver(desk.root)
    assert desk.sandbox.card(item.key).state == "Architecture"


async def test_what_a_person_has_put_there_stays(desk: Desk) -> None:
    item = asked(desk)
    desk.sandbox.move_card(item.key, "Blocked")
    await deliver(desk.root)
    assert desk.sandbox.card(item.key).state == "Blocked"


async def test_what_a_webhook_has_told_is_not_heard_again(desk: Desk) -> None:
    item = asked(desk)

    def before() -> None:
        desk.sandbox.move_card(item.key, "Approved")
        plane_says(desk, plane_moved(desk, desk.sandbox.card(item.key), "Approved"))

    await shown_while(desk, before)
    assert decided(desk, item) == [("approve", COMMIT)]
    assert [row.signal for row in desk.signals] == [Signal.APPROVED]


async def test_it_is_heard_although_planes_log_cannot_be_read_at_first(desk: Desk) -> None:
    item = asked(desk)

    def before() -> None:
        desk.sandbox.move_card(item.key, "Approved")
        desk.sandbox.fail_next("plane", 1, match="activities")

    await shown_while(desk, before)
    assert decided(desk, item) == []
    desk.clock.forward(outbox.BACK_OFF[0])
    await deliver(desk.root)
    assert decided(desk, item) == [("approve", COMMIT)]


async def test_what_says_nothing_to_orch_may_be_replaced(desk: Desk) -> None:
    item = asked(desk)
    await shown_while(desk, lambda: desk.sandbox.move_card(item.key, "Backlog"))
    assert desk.signals == []


async def test_a_plane_that_keeps_its_log_to_itself_has_its_card_shown_all_the_same(desk: Desk) -> None:
    item = asked(desk)
    refusal = {"error": "The requested resource does not exist."}
    desk.sandbox.fail_next("plane", 1, status=404, body=refusal, match="activities")
    await deliver(desk.root)
    desk.sandbox.clear_faults()
    assert (desk.again(item).shown, desk.sandbox.card(item.key).state) == ("in_review", "In Review")
    assert [row.last_error for row in desk.letters if row.kind == outbox.Kind.STATUS] == [""]
