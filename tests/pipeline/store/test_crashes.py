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
