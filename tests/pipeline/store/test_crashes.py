from pipeline.store import crashes, freezes
from pipeline.store.crashes import TOO_MANY, WITHIN
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import later, new_item


def test_the_fifth_death_within_ten_minutes_freezes_the_project(store: Store) -> None:
    item = new_item(store)
    assert [store.write(crashes.count, item, later(n)) for n in range(TOO_MANY)] == [False] * 4 + [True]
    frozen = store.read(crashes.broken, "WID")
    assert frozen is not None
    assert frozen.sentence.endswith("its runs died 5 times within 10 minutes")


def test_deaths_that_are_long_ago_do_not_count(store: Store) -> None:
    item = new_item(store)
    pause = WITHIN.total_seconds() / (TOO_MANY - 1)
    assert not any(store.write(crashes.count, item, later(n * pause)) for n in range(20))


def test_a_thawed_project_counts_anew(store: Store) -> None:
    item = new_item(store)
    for second in range(TOO_MANY):
        store.write(crashes.count, item, later(second))
    assert store.write(freezes.thaw, "WID", later(9))
    assert not store.write(crashes.count, item, later(10))
    assert store.read(crashes.broken, "WID") is None


def test_a_persons_freeze_outlives_the_breakers_and_its_thaw(store: Store) -> None:
    store.write(freezes.freeze, "WID", actor="ada", why="release day", now=later(0))
    item = new_item(store)
    for second in range(TOO_MANY):
        store.write(crashes.count, item, later(second))
    assert store.read(crashes.broken, "WID") is not None
    assert store.write(freezes.thaw, "WID", later(9))
    assert store.read(crashes.broken, "WID") is None
    left = store.read(freezes.in_the_way, "WID")
    assert left is not None
    assert (left.actor, left.why) == ("ada", "release day")
    assert store.write(freezes.thaw, "WID", later(10))
    assert store.read(freezes.in_the_way, "WID") is None


def test_a_persons_freeze_does_not_let_the_runs_of_a_broken_project_start_again(store: Store) -> None:
    store.write(freezes.trip, "WID", why="its runs died", now=later(0))
    store.write(freezes.freeze, "WID", actor="ada", why="release day", now=later(1))
    broken = store.read(crashes.broken, "WID")
    assert broken is not None
    assert broken.sentence.startswith("WID is frozen by its breaker")


def test_a_freeze_of_everything_does_not_hide_a_breaker(store: Store) -> None:
    store.write(freezes.trip, "WID", why="its runs died", now=later(0))
    store.write(freezes.freeze, freezes.EVERYTHING, actor="ada", why="release day", now=later(1))
    assert store.read(crashes.broken, "WID") is not None
    assert store.read(crashes.broken, "OTH") is None
    assert [one.actor for one in store.read(freezes.holding, "WID")] == ["ada", freezes.BREAKER]


def test_a_breaker_keeps_its_project_from_landing(store: Store) -> None:
    store.write(freezes.trip, "WID", why="its runs died", now=later(0))
    found = store.read(freezes.in_the_way, "WID")
    assert found is not None
    assert (found.project, found.actor) == ("WID", freezes.BREAKER)
