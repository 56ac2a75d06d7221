from datetime import timedelta

from pipeline.store import suspicions
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import later

AFTER = timedelta(seconds=90)


def looked(store: Store, seconds: float, *subjects: str, kind: str = "run") -> tuple[str, ...]:
    return store.write(suspicions.confirmed, kind, subjects, later(seconds), after=AFTER)


def test_it_takes_two_looks_that_are_far_enough_apart(store: Store) -> None:
    assert looked(store, 0, "a") == ()
    assert looked(store, 89, "a", "b") == ()
    assert looked(store, 90, "a", "b") == ("a",)


def test_who_looked_alive_in_between_is_suspected_anew(store: Store) -> None:
    looked(store, 0, "a")
    looked(store, 60)
    assert looked(store, 91, "a") == ()


def test_kinds_do_not_clear_each_other(store: Store) -> None:
    looked(store, 0, "a")
    looked(store, 60, kind="merge-lock")
    assert looked(store, 91, "a") == ("a",)
