import pytest

from pipeline.errors import StaleWrite
from pipeline.model import Hold, WorkItem
from pipeline.stages import WORKED
from pipeline.store import items, journal, outbox, queue
from pipeline.store.engine import Store
from pipeline.store.leases import Lease
from tests.pipeline.store.helpers import NOW, claimed, later, moved, new_item


def three(store: Store) -> list[WorkItem]:
    made = [new_item(store, f"WID-{n}") for n in (1, 2, 3)]
    for item in made:
        store.write(queue.take, item, NOW)
    return made


def order(store: Store) -> list[int]:
    return [ticket.item_id for ticket in store.read(queue.tickets, "WID")]


def test_first_come_is_first_and_a_ticket_is_taken_once(store: Store) -> None:
    made = three(store)
    again = store.write(queue.take, made[1], later(5))
    assert (again.first, again.ahead) == (False, 1)
    assert order(store) == [item.id for item in made]


def test_the_run_of_an_item_that_was_held_meanwhile_is_overtaken_and_no_bug(store: Store) -> None:
    first, second, _third = three(store)
    assert store.write(queue.defer, second) == 1
    store.write(items.hold, second.id, Hold.NEEDS_INPUT, "bob closed the pull request", later(1))
    with pytest.raises(StaleWrite, match="WID-2 does not queue any more"):
        store.write(queue.defer, second)
    assert store.write(queue.defer, first) == 1


def test_leaving_wakes_the_next_one_in_the_same_transaction(store: Store) -> None:
    first, second, _third = three(store)
    store.write(queue.leave, first, later(1))
    head = store.read(queue.tickets, "WID")[0]
    assert (head.item_id, head.woken_at) == (second.id, later(1))
    assert [letter.item_key for letter in store.write(outbox.claim, later(1))] == ["WID-2"]


def test_leaving_twice_wakes_nobody_else(store: Store) -> None:
    first, _second, _third = three(store)
    store.write(queue.leave, first, later(1))
    store.write(queue.leave, first, later(2))
    assert len(store.write(outbox.claim, later(3))) == 1


def test_one_that_was_woken_and_does_not_come_goes_to_the_end(store: Store) -> None:
    first, second, third = three(store)
    store.write(queue.wake_head, "WID", later(1))
    assert store.write(queue.wake_head, "WID", later(30)) is None
    assert store.write(queue.wake_head, "WID", later(70)) == "WID-2"
    assert order(store) == [second.id, third.id, first.id]


def test_one_that_comes_passes_whoever_was_woken_in_vain(store: Store) -> None:
    first, second, third = three(store)
    store.write(queue.wake_head, "WID", later(1))
    assert not store.write(queue.take, second, later(30)).first
    assert store.write(queue.take, second, later(70)).first
    assert order(store) == [second.id, third.id, first.id]


def test_one_that_comes_is_not_taken_for_one_that_does_not(store: Store) -> None:
    first, *_ = three(store)
    store.write(queue.wake_head, "WID", later(1))
    assert store.write(queue.take, first, later(20)).woken_at is None
    assert store.write(queue.wake_head, "WID", later(70)) == "WID-1"


def test_one_that_comes_back_stays_first_and_wakes_nobody(store: Store) -> None:
    first, *_ = items = three(store)
    store.write(queue.keep, first, later(1))
    assert order(store) == [item.id for item in items]
    assert store.write(outbox.claim, later(1)) == []
    assert store.write(queue.take, first, later(2)).first


def test_one_that_was_to_come_back_and_does_not_goes_to_the_end(store: Store) -> None:
    first, second, third = three(store)
    store.write(queue.keep, first, later(1))
    assert store.write(queue.wake_head, "WID", later(30)) is None
    assert store.write(queue.wake_head, "WID", later(70)) == "WID-2"
    assert order(store) == [second.id, third.id, first.id]


def test_deferrals_in_a_row_are_counted(store: Store) -> None:
    first, *_ = three(store)
    assert [store.write(queue.defer, first) for _ in range(3)] == [1, 2, 3]


def deploying(store: Store, item: WorkItem) -> None:
    """The item's deploy is begun, and not ended."""
    lease = claimed(store, item)
    assert isinstance(lease, Lease)
    store.write(journal.start, item, journal.DEPLOY, lease, subject="c1", now=NOW, commit="c1")


def at_deploy(store: Store, item: WorkItem) -> WorkItem:
    for there in WORKED[1:]:
        item = moved(store, item, there)
    return item


def test_one_that_is_kept_out_by_a_deploy_keeps_its_place_and_is_in_nobodys_way(store: Store) -> None:
    kept_out, other = at_deploy(store, new_item(store, "WID-1")), at_deploy(store, new_item(store, "WID-2"))
    store.write(queue.take, kept_out, NOW)
    store.write(queue.defer, kept_out)
    deploying(store, other)
    validating = new_item(store, "WID-3")
    assert [store.write(queue.take, item, NOW).first for item in (other, validating)] == [True, False]
    store.write(queue.leave, other, NOW)
    store.write(queue.stay, kept_out, NOW)
    tickets = store.read(queue.tickets, "WID")
    assert [(t.item_id, t.first, t.woken_at, t.deferrals) for t in tickets] == [
        (kept_out.id, True, None, 1), (validating.id, True, NOW, 0),
    ]  # fmt: skip


def test_one_that_was_kept_out_is_woken_first_when_the_deploy_has_ended(store: Store) -> None:
    kept_out, other = at_deploy(store, new_item(store, "WID-1")), at_deploy(store, new_item(store, "WID-2"))
    store.write(queue.take, kept_out, NOW)
    deploying(store, other)
    store.write(queue.take, new_item(store, "WID-3"), NOW)
    [effect] = store.read(journal.of_item, other.id)
    store.write(journal.finish, effect, "done", NOW)
    assert store.write(queue.wake_head, "WID", NOW) == "WID-1"
