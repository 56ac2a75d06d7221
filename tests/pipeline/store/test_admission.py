"""Who is let into a stage: dependencies that have ended, and places that are never given twice."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from sqlmodel import Session

from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.outcomes import Block, WaitFor
from pipeline.stages import Stage
from pipeline.store import admission, dependencies, items, outbox, places, waits
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later, moved, new_item

FORK = multiprocessing.get_context("fork")
BOTH = (dependencies.BY_HAND, dependencies.FROM_TRACKER)


def past_analysis(store: Store, key: str, *, priority: str = "none", at: float = 0) -> WorkItem:
    item = store.write(items.update, new_item(store, key), None, NOW, priority=priority)
    item = moved(store, item, Stage.ARCHITECTURE)
    return store.write(items.update, item, None, NOW, entered_at=later(at))


def admitted(
    store: Store, item: WorkItem, *, limit: int = 1, sources: tuple[str, ...] = BOTH
) -> WaitFor | Block | None:
    return store.write(admission.admit, item, limit=limit, sources=sources, now=later(10))


def depend(store: Store, key: str, on: str, source: str = "db", group: str = "") -> None:
    store.write(dependencies.add, key, on, source, NOW, group=group)


def waits_for(store: Store, item: WorkItem, kept: WaitFor | Block | None) -> None:
    assert isinstance(kept, WaitFor)
    key = f"{kept.kind}-{item.key}"
    store.write(waits.begin, item, kept.kind, key=key, sentence=kept.sentence, now=later(10))


def woken(store: Store) -> list[str]:
    return [letter.item_key for letter in store.write(outbox.claim, later(1000))]


# --- places


def test_only_so_many_are_let_past_analysis(store: Store) -> None:
    first, second, third = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2, 3))
    assert admitted(store, first, limit=2) is None
    assert admitted(store, second, limit=2) is None
    kept = admitted(store, third, limit=2)
    assert isinstance(kept, WaitFor)
    assert kept.sentence == "WID lets 2 items past analysis at a time: now WID-1, WID-2."


def test_whoever_has_a_place_is_let_in_again(store: Store) -> None:
    first, second = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2))
    assert [admitted(store, first), admitted(store, first)] == [None, None]
    assert admitted(store, moved(store, first, Stage.DEVELOPMENT)) is None
    assert isinstance(admitted(store, second), WaitFor)


def test_analysis_needs_no_place(store: Store) -> None:
    admitted(store, past_analysis(store, "WID-1"))
    assert admitted(store, new_item(store, "WID-2")) is None
    assert list(store.read(places.active, "WID").values()) == ["WID-1"]


def test_places_are_counted_also_while_there_is_no_limit(store: Store) -> None:
    first, second = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2))
    assert admitted(store, first, limit=0) is None
    assert isinstance(admitted(store, second, limit=1), WaitFor)


def test_first_come_first_served(store: Store) -> None:
    early, late = past_analysis(store, "WID-1", at=1), past_analysis(store, "WID-2", at=2)
    kept = admitted(store, late)
    assert isinstance(kept, WaitFor)
    assert "WID-1 before it" in kept.sentence
    assert admitted(store, early) is None


def test_an_urgent_item_comes_before_one_that_came_earlier(store: Store) -> None:
    early, urgent = past_analysis(store, "WID-1", at=1), past_analysis(store, "WID-2", at=2, priority="urgent")
    assert isinstance(admitted(store, early), WaitFor)
    assert admitted(store, urgent) is None


def test_who_cannot_go_on_anyway_does_not_hold_up_the_line(store: Store) -> None:
    early, held, last = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2, 3))
    new_item(store, "WID-9")
    depend(store, early.key, "WID-9")
    store.write(items.hold, held.id, Hold.BLOCKED, "the repository is gone", NOW)
    assert admitted(store, last) is None


def test_a_blocked_item_keeps_its_place(store: Store) -> None:
    first, second = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2))
    admitted(store, first)
    store.write(items.hold, first.id, Hold.BLOCKED, "the repository is gone", NOW)
    assert isinstance(admitted(store, second), WaitFor)


@pytest.mark.parametrize("end", [Stage.CANCELLED, Stage.DONE])
def test_an_item_that_ends_frees_its_place_and_wakes_the_next_in_the_same_transaction(store: Store, end: Stage) -> None:
    first, second, urgent = (
        past_analysis(store, "WID-1", at=1),
        past_analysis(store, "WID-2", at=2),
        past_analysis(store, "WID-3", at=3, priority="urgent"),
    )
    admitted(store, first, limit=0)
    for item in (second, urgent):
        waits_for(store, item, admitted(store, item))
    moved(store, first, end)
    assert woken(store) == ["WID-3"]
    assert admitted(store, urgent) is None
    assert isinstance(admitted(store, second), WaitFor)


def test_what_an_active_item_waits_for_is_let_in_although_the_places_are_taken(store: Store) -> None:
    active, first, other, blocker = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2, 3, 4))
    assert admitted(store, active) is None
    assert isinstance(admitted(store, blocker), WaitFor)
    depend(store, active.key, "WID-9")
    depend(store, "WID-9", blocker.key)
    new_item(store, "WID-9")
    assert isinstance(admitted(store, blocker, sources=()), WaitFor)
    assert admitted(store, blocker) is None
    assert all(isinstance(admitted(store, item), WaitFor) for item in (first, other))
    assert store.read(places.active, "WID") == {1: active.key, 2: blocker.key}


def test_what_only_a_landed_item_would_wait_for_gets_no_place_beyond_the_limit(store: Store) -> None:
    active, blocker = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2))
    admitted(store, active)
    depend(store, active.key, blocker.key)
    store.write(items.update, active, None, NOW, landed="a" * 40)
    assert isinstance(admitted(store, blocker), WaitFor)


def test_an_active_item_of_another_project_counts_too(store: Store) -> None:
    new = items.NewItem("OTH-1", "OTH", "uuid", "Other", "feature/OTH-1")
    other, _ = store.write(items.create, new, actor="ada", reason="asked for", run=None, now=NOW)
    admitted(store, moved(store, other, Stage.ARCHITECTURE))
    first, blocker = (past_analysis(store, f"WID-{n}", at=n) for n in (1, 2))
    admitted(store, first)
    depend(store, "OTH-1", blocker.key)
    assert admitted(store, blocker) is None


def test_another_project_has_its_own_places(store: Store) -> None:
    admitted(store, past_analysis(store, "WID-1"))
    new = items.NewItem("OTH-1", "OTH", "uuid", "Other", "feature/OTH-1")
    other, _ = store.write(items.create, new, actor="ada", reason="asked for", run=None, now=NOW)
    assert admitted(store, moved(store, other, Stage.ARCHITECTURE)) is None


def _enter(asked: tuple[str, WorkItem]) -> bool:
    url, item = asked
    store = Store(url)
    return store.write(admission.admit, item, limit=2, sources=BOTH, now=later(10)) is None


def test_racing_items_never_take_more_places_than_there_are(store_url: str, store: Store) -> None:
    racers = [past_analysis(store, f"WID-{n}", at=1) for n in range(1, 9)]
    with ProcessPoolExecutor(8, mp_context=FORK) as pool:
        won = list(pool.map(_enter, [(store_url, item) for item in racers]))
    assert won.count(True) <= 2
    assert len(store.read(places.active, "WID")) == won.count(True)


def test_two_transactions_that_choose_the_same_place_collide_and_the_later_one_looks_again(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    first, second = (past_analysis(store, f"WID-{n}", at=1) for n in (1, 2))
    looked = threading.Event()

    def enter_an_empty_project(session: Session) -> bool:
        slot = places.free_slot(places.active(session, "WID"))
        if slot > 1:
            return False
        looked.set()
        places.take(session, first, slot, later(10))
        return True

    with ThreadPoolExecutor(1) as pool:
        with store.begin() as session:
            places.take(session, second, 1, later(10))
            slower = pool.submit(store.write, enter_an_empty_project)
            assert looked.wait(10)
        assert not slower.result()
    assert store.read(places.active, "WID") == {1: "WID-2"}


# --- dependencies


def test_an_item_waits_until_what_it_depends_on_is_done_or_cancelled(store: Store) -> None:
    item, other = new_item(store, "WID-1"), new_item(store, "WID-2")
    depend(store, "WID-1", "WID-2")
    kept = admitted(store, item)
    assert kept == WaitFor(WaitKind.DEPENDENCY, "It waits for WID-2 (at analysis).", None)
    waits_for(store, item, kept)
    moved(store, other, Stage.CANCELLED)
    assert woken(store) == ["WID-1"]
    assert admitted(store, item) is None


def test_an_issue_that_is_no_work_item_is_judged_by_its_state_group(store: Store) -> None:
    item = new_item(store, "WID-1")
    depend(store, "WID-1", "WID-2", "plane", "started")
    kept = admitted(store, item)
    assert kept == WaitFor(WaitKind.DEPENDENCY, "It waits for WID-2 (started in the tracker).", None)
    waits_for(store, item, kept)
    store.write(dependencies.tracker_moved, "WID-2", "completed", NOW)
    assert woken(store) == ["WID-1"]
    assert admitted(store, item) is None


def test_an_issue_that_nobody_knows_anything_about_counts_as_ready(store: Store) -> None:
    item = new_item(store, "WID-1")
    depend(store, "WID-1", "WID-2", "plane")
    assert admitted(store, item) is None


def test_only_the_sources_that_are_asked_for_count(store: Store) -> None:
    item = new_item(store, "WID-1")
    new_item(store, "WID-2")
    depend(store, "WID-1", "WID-2", "plane")
    assert admitted(store, item, sources=("db",)) is None
    assert admitted(store, item, sources=()) is None
    assert isinstance(admitted(store, item, sources=BOTH), WaitFor)


def test_what_the_tracker_says_no_longer_is_forgotten_and_what_was_entered_by_hand_stays(store: Store) -> None:
    new_item(store, "WID-1")
    depend(store, "WID-1", "WID-2")
    store.write(dependencies.replace, "WID-1", {"WID-2": "", "WID-3": "started"}, NOW)
    assert store.read(dependencies.of_item, "WID-1", BOTH) == ("WID-2", "WID-3")
    store.write(dependencies.replace, "WID-1", {}, NOW)
    assert store.read(dependencies.of_item, "WID-1", BOTH) == ("WID-2",)


def test_taking_a_dependency_off_wakes_the_item(store: Store) -> None:
    item = new_item(store, "WID-1")
    new_item(store, "WID-2")
    depend(store, "WID-1", "WID-2")
    waits_for(store, item, admitted(store, item))
    assert store.write(dependencies.remove, "WID-1", "WID-2", NOW)
    assert woken(store) == ["WID-1"]
    assert not store.write(dependencies.remove, "WID-1", "WID-2", NOW)


def test_a_cycle_is_found_and_named_from_each_item_in_it_and_from_no_other(store: Store) -> None:
    ring = [new_item(store, f"WID-{n}") for n in (1, 2, 3)]
    outside = new_item(store, "WID-4")
    for one, other in (("WID-1", "WID-2"), ("WID-2", "WID-3"), ("WID-3", "WID-1"), ("WID-4", "WID-1")):
        depend(store, one, other)
    assert store.read(dependencies.cycle, "WID-1", BOTH) == ("WID-1", "WID-2", "WID-3", "WID-1")
    assert all(isinstance(admitted(store, item), Block) for item in ring)
    assert isinstance(admitted(store, outside), WaitFor)


def test_a_dependency_can_be_tried_for_a_cycle_before_it_is_entered(store: Store) -> None:
    for n in (1, 2):
        new_item(store, f"WID-{n}")
    depend(store, "WID-1", "WID-2")
    assert store.read(dependencies.cycle, "WID-2", BOTH, on="WID-1") == ("WID-2", "WID-1", "WID-2")
    assert store.read(dependencies.cycle, "WID-2", BOTH, on="WID-9") == ()


def test_what_has_landed_is_not_kept_out_any_more(store: Store) -> None:
    item = new_item(store, "WID-1")
    new_item(store, "WID-2")
    depend(store, "WID-1", "WID-2")
    landed = store.write(items.update, item, None, NOW, landed="a" * 40)
    assert admitted(store, landed) is None
