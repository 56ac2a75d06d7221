import pytest

from pipeline.errors import LeaseLost
from pipeline.store import journal
from pipeline.store.engine import Store
from pipeline.store.leases import Lease
from tests.pipeline.store.helpers import claimed, later, new_item


def test_an_effect_is_begun_once_and_then_observed(store: Store) -> None:
    item = new_item(store)
    lease = claimed(store, item)
    assert isinstance(lease, Lease)
    effect, first = store.write(journal.start, item, "land", lease, subject="abc", now=later(1))
    _same, again = store.write(journal.start, item, "land", lease, subject="abc", now=later(2))
    assert (first, again) == (True, False)
    assert [e.key for e in store.read(journal.open_effects, "WID")] == [effect.key]
    store.write(journal.finish, effect, "landed", later(3))
    store.write(journal.finish, effect, "something else", later(4))
    assert [(e.open, e.outcome) for e in store.read(journal.of_item, item.id)] == [(False, "landed")]


def test_a_run_that_lost_the_item_begins_no_effect(store: Store) -> None:
    item = new_item(store)
    old = claimed(store, item, run="run-1")
    new = claimed(store, item, run="run-2", alive=False)
    assert isinstance(old, Lease)
    assert isinstance(new, Lease)
    with pytest.raises(LeaseLost):
        store.write(journal.start, item, "land", old, subject="abc", now=later(1))
    assert store.write(journal.start, item, "land", new, subject="abc", now=later(1))[1]


def test_an_effect_that_did_not_happen_is_struck_out_and_may_be_begun_again(store: Store) -> None:
    item = new_item(store)
    lease = claimed(store, item)
    assert isinstance(lease, Lease)
    effect, _ = store.write(journal.start, item, "land", lease, subject="abc", now=later(1))
    store.write(journal.abandon, effect)
    assert store.write(journal.start, item, "land", lease, subject="abc", now=later(2))[1]
