import pytest

from pipeline.store import drains
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later

SAID = "Orch takes no new work while WID-1 is being deployed."


def test_a_drain_is_in_the_way_of_everybody_but_its_owner(store: Store) -> None:
    store.write(drains.begin, "WID-1", NOW, later(60))
    assert store.read(drains.in_the_way, "WID-2", later(1)) == SAID
    assert store.read(drains.in_the_way, "WID-1", later(1)) is None


def test_nothing_is_in_the_way_while_nobody_drains(store: Store) -> None:
    assert store.read(drains.in_the_way, "WID-2", NOW) is None


@pytest.mark.parametrize(("seconds", "said"), [(59.9, SAID), (60, None), (61, None)])
def test_a_drain_that_nobody_ends_ends_by_itself_at_its_deadline(
    store: Store, seconds: float, said: str | None
) -> None:
    store.write(drains.begin, "WID-1", NOW, later(60))
    assert store.read(drains.in_the_way, "WID-2", later(seconds)) == said


def test_a_drain_is_prolonged_by_beginning_it_again_and_one_end_ends_it(store: Store) -> None:
    store.write(drains.begin, "WID-1", NOW, later(60))
    store.write(drains.begin, "WID-1", later(30), later(120))
    assert store.read(drains.in_the_way, "WID-2", later(90)) == SAID
    store.write(drains.end, "WID-1", later(91))
    assert store.read(drains.in_the_way, "WID-2", later(92)) is None


def test_ending_twice_or_without_a_drain_harms_nobody(store: Store) -> None:
    store.write(drains.begin, "WID-1", NOW, later(60))
    for _ in range(2):
        store.write(drains.end, "WID-3", later(1))
    assert store.read(drains.in_the_way, "WID-2", later(2)) == SAID


def test_an_owner_may_drain_again_after_its_drain_has_ended(store: Store) -> None:
    store.write(drains.begin, "WID-1", NOW, later(60))
    store.write(drains.end, "WID-1", later(1))
    store.write(drains.begin, "WID-1", later(2), later(60))
    assert store.read(drains.in_the_way, "WID-2", later(3)) == SAID


def test_two_owners_are_in_each_others_way_and_in_everybody_elses(store: Store) -> None:
    for owner in ("WID-1", "SHOP-1"):
        store.write(drains.begin, owner, NOW, later(60))
    assert store.read(drains.in_the_way, "SHOP-1", later(1)) == SAID
    assert store.read(drains.in_the_way, "WID-1", later(1)) == SAID.replace("WID-1", "SHOP-1")
    store.write(drains.end, "SHOP-1", later(2))
    assert store.read(drains.in_the_way, "WID-1", later(3)) is None
