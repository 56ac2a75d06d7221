import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.stages import Role, Stage
from pipeline.store import items, queue, transitions, waits
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, claimed, later, moved, new_item

FORK = multiprocessing.get_context("fork")


def test_a_new_item_stands_at_analysis_with_its_first_transition_recorded(store: Store) -> None:
    item = new_item(store)
    assert (item.stage, item.visit, item.version) == (Stage.ANALYSIS, 1, 1)
    assert [(t.from_stage, t.to_stage, t.actor) for t in store.read(transitions.history, item.id)] == [
        (None, Stage.ANALYSIS, "ada")
    ]


def test_creating_an_item_again_gives_the_one_that_exists(store: Store) -> None:
    first = new_item(store)
    new = items.NewItem("WID-1", "WID", "another", "Another title", "feature/other")
    second, created = store.write(items.create, new, actor="bob", reason="again", run=None, now=NOW)
    assert (second.id, created) == (first.id, False)


def test_a_stage_write_moves_the_item_records_it_and_counts_the_visit(store: Store) -> None:
    item = moved(store, new_item(store), Stage.ARCHITECTURE)
    assert (item.stage, item.version, item.visit) == (Stage.ARCHITECTURE, 2, 1)
    last = store.read(transitions.history, item.id)[-1]
    assert (last.from_stage, last.to_stage, last.reason, last.seconds) == (
        Stage.ANALYSIS, Stage.ARCHITECTURE, "because", 5.0,
    )  # fmt: skip


def test_a_stage_write_on_a_stale_look_is_refused_and_changes_nothing(store: Store) -> None:
    seen = new_item(store)
    moved(store, seen, Stage.ARCHITECTURE)
    with pytest.raises(StaleWrite, match="is at architecture"):
        moved(store, seen, Stage.ARCHITECTURE)
    assert len(store.read(transitions.history, seen.id)) == 2


def test_a_move_that_the_table_does_not_know_is_refused(store: Store) -> None:
    with pytest.raises(StaleWrite, match="no such move"):
        moved(store, new_item(store), Stage.DEPLOY)


def test_a_stage_write_without_the_owners_token_is_refused(store: Store) -> None:
    item = new_item(store)
    claimed(store, item)
    with pytest.raises(LeaseLost):
        moved(store, item, Stage.ARCHITECTURE, token="somebody-else")
    with pytest.raises(LeaseLost):
        moved(store, item, Stage.ARCHITECTURE, token=None)
    assert moved(store, item, Stage.ARCHITECTURE, token="token-run-1").stage is Stage.ARCHITECTURE


def test_a_way_back_spends_an_attempt_of_its_role(store: Store) -> None:
    item = moved(store, new_item(store), Stage.ANALYSIS, spend=Role.ANALYST, feedback="too short")
    assert (item.attempts_of(Role.ANALYST), item.visit, item.feedback) == (1, 2, "too short")


def test_moving_closes_the_open_wait_and_lifts_the_hold(store: Store) -> None:
    item = new_item(store)
    store.write(waits.begin, item, WaitKind.CI, key="ci-1", sentence="CI runs", now=NOW)
    held = store.write(items.hold, item.id, Hold.BLOCKED, "the repository is gone", NOW)
    assert store.read(waits.open_wait, item.id) is None
    gone_on = moved(store, held, Stage.ARCHITECTURE)
    assert (gone_on.hold, gone_on.hold_reason) == (None, "")


def test_holding_an_item_makes_the_write_of_its_running_owner_stale(store: Store) -> None:
    item = new_item(store)
    claimed(store, item)
    store.write(items.hold, item.id, Hold.BLOCKED, "its pull request was closed", NOW)
    with pytest.raises(StaleWrite):
        moved(store, item, Stage.ARCHITECTURE, token="token-run-1")


def test_a_cancelled_item_frees_its_key_for_a_fresh_start(store: Store) -> None:
    first = moved(store, new_item(store), Stage.CANCELLED)
    second = new_item(store)
    assert second.id != first.id
    assert store.read(items.find, "WID-1") == second
    assert store.read(items.latest, "WID-1") == second


def test_an_item_that_goes_back_before_the_merge_gives_its_ticket_up(store: Store) -> None:
    item = new_item(store)
    for stage in (Stage.ARCHITECTURE, Stage.DEVELOPMENT, Stage.REVIEW, Stage.TESTING, Stage.DEPLOY_STAGING):
        item = moved(store, item, stage)
    store.write(queue.take, item, NOW)
    item = moved(store, item, Stage.DEPLOY)
    assert len(store.read(queue.tickets, "WID")) == 1
    moved(store, item, Stage.DEVELOPMENT)
    assert store.read(queue.tickets, "WID") == []


def _create(url: str) -> tuple[int, bool]:
    store = Store(url)
    new = items.NewItem("WID-7", "WID", "uuid-7", "Raced for", "feature/WID-7-raced-for")
    item, created = store.write(items.create, new, actor="racer", reason="first come", run=None, now=NOW)
    return item.id, created


def test_of_twenty_racing_processes_exactly_one_creates_the_item(store_url: str, store: Store) -> None:
    with ProcessPoolExecutor(20, mp_context=FORK) as pool:
        results = list(pool.map(_create, [store_url] * 20))
    assert [created for _, created in results].count(True) == 1
    assert len({item_id for item_id, _ in results}) == 1


def _advance(seen: tuple[str, WorkItem]) -> bool:
    url, item = seen
    store = Store(url)
    try:
        store.write(
            items.move, item, Stage.ARCHITECTURE, actor="racer", reason="raced", run=None, token=None, now=later(1)
        )
    except StaleWrite:
        return False
    return True


def test_of_twenty_processes_that_write_one_stage_change_exactly_one_succeeds(store_url: str, store: Store) -> None:
    item = new_item(store)
    with ProcessPoolExecutor(20, mp_context=FORK) as pool:
        won = list(pool.map(_advance, [(store_url, item)] * 20))
    assert won.count(True) == 1
    assert [t.to_stage for t in store.read(transitions.history, item.id)] == [Stage.ANALYSIS, Stage.ARCHITECTURE]
