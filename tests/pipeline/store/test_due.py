"""The store finds what is due by itself, and nothing else."""

from datetime import timedelta

import pytest

from pipeline.model import Choice, Decision, Hold, WaitKind, WorkItem
from pipeline.stages import WORKED
from pipeline.store import due, freezes, items, queue, waits
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, claimed, later, new_item

GRACES = dict.fromkeys(WORKED, timedelta(seconds=20))


def waiting(store: Store, kind: WaitKind, key: str = "WID-1", **more: object) -> WorkItem:
    item = new_item(store, key)
    store.write(waits.begin, item, kind, key=f"{kind}-{key.lower()}", sentence="It waits.", now=NOW, **more)  # type: ignore[arg-type]
    return item


def abandoned(store: Store, seconds: float) -> list[str]:
    found = store.read(due.abandoned, later(seconds), GRACES, limit=10)
    return [one.item.key for one in found]


def looking_again(store: Store, seconds: float) -> list[str]:
    return [one.item.key for one in store.read(due.looking_again, later(seconds), limit=10)]


def test_an_item_without_run_and_wait_is_due_after_its_stages_grace(store: Store) -> None:
    new_item(store)
    assert (abandoned(store, 19), abandoned(store, 21)) == ([], ["WID-1"])


def test_who_is_owned_waits_is_held_backs_off_or_ends_is_not_abandoned(store: Store) -> None:
    claimed(store, new_item(store, "WID-1"))
    waiting(store, WaitKind.CI, "WID-2")
    store.write(items.hold, new_item(store, "WID-3").id, Hold.BLOCKED, "so", NOW)
    store.write(items.update, new_item(store, "WID-4"), None, NOW, failures=1, not_before=later(60))
    store.write(items.update, new_item(store, "WID-5"), None, NOW, cancel_requested_at=NOW)
    assert abandoned(store, 30) == []
    assert abandoned(store, 61) == ["WID-4"]
    assert [item.key for item in store.read(due.stopping, limit=5)] == ["WID-5"]


def test_a_broken_project_is_left_alone_until_it_is_thawed_and_one_that_a_person_froze_is_not(store: Store) -> None:
    new_item(store)
    store.write(freezes.trip, "WID", why="so", now=NOW)
    assert abandoned(store, 30) == []
    store.write(freezes.thaw, "WID", NOW)
    store.write(freezes.freeze, "WID", actor="ada", why="so", now=NOW)
    assert abandoned(store, 30) == ["WID-1"]


def test_a_machine_is_looked_at_when_its_time_has_come_and_a_person_never(store: Store) -> None:
    waiting(store, WaitKind.CI, "WID-1", look_again_at=later(60))
    waiting(store, WaitKind.APPROVAL, "WID-2", look_again_at=later(10), commit="a")
    assert (looking_again(store, 59), looking_again(store, 60)) == ([], ["WID-1"])


def test_of_a_merge_queue_the_first_alone_is_looked_at_and_at_once_when_it_was_woken(store: Store) -> None:
    queued = [waiting(store, WaitKind.MERGE_TURN, f"WID-{n}", look_again_at=later(60)) for n in (1, 2)]
    for item in queued:
        store.write(queue.take, item, NOW)
    assert (looking_again(store, 0), looking_again(store, 61)) == ([], ["WID-1"])
    store.write(queue.wake_head, "WID", NOW)
    assert looking_again(store, 1) == ["WID-1"]


@pytest.mark.parametrize(("kind", "at", "counts"), [
    (WaitKind.APPROVAL, -5, True), (WaitKind.ANSWER, -5, False), (WaitKind.ANSWER, 5, True),
])  # fmt: skip
def test_a_wait_is_answered_by_a_decision_of_its_kind_and_commit(
    store: Store, kind: WaitKind, at: float, counts: bool
) -> None:
    item = waiting(store, kind, commit="a" * 40)
    choice = Choice.ANSWER if kind is WaitKind.ANSWER else Choice.APPROVE
    store.write(waits.decide, item, Decision(kind, choice, "b" * 40, "ada", "", later(5)))
    [asked] = store.read(due.unchecked, limit=5)
    assert asked.wait is not None
    assert store.read(due.answered, [asked.wait.id]) == frozenset()
    store.write(waits.decide, item, Decision(kind, choice, "a" * 40, "ada", "", later(at)))
    assert store.read(due.answered, [asked.wait.id]) == (frozenset({asked.wait.id}) if counts else frozenset())


def test_all_suspended_runs_are_looked_after_in_turn(store: Store) -> None:
    for number in range(3):
        waiting(store, WaitKind.APPROVAL, f"WID-{number}", commit="a", flow_run_id=f"run-{number}")
    seen: list[str] = []
    for tick in range(3):
        [one] = store.read(due.unchecked, limit=1)
        assert one.wait is not None
        store.write(due.checked, [one.wait.id], later(tick))
        seen.append(one.item.key)
    assert sorted(seen) == ["WID-0", "WID-1", "WID-2"]
    assert store.read(due.wanted, ["run-1", "run-9"]) == frozenset({"run-1"})


def test_a_wait_past_its_deadline_is_told_of_once(store: Store) -> None:
    waiting(store, WaitKind.CI, deadline=later(60))
    assert store.read(due.overdue, later(59), limit=5) == []
    [(wait, item)] = store.read(due.overdue, later(60), limit=5)
    assert (item.key, store.write(waits.reminded, wait.id, NOW)) == ("WID-1", True)
    assert store.read(due.overdue, later(60), limit=5) == []
