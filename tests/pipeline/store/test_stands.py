from pathlib import Path

import pytest

from pipeline.model import Baseline, CoverageRun, Health, Hook, HookEnd, HookRun, Probed, Stand
from pipeline.store import stands
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later, new_item

A, B = "a" * 40, "b" * 40
LOG = Path("/var/log/hook.log")


def ran(sentence: str, end: HookEnd = HookEnd.DONE, exit_code: int | None = 0) -> HookRun:
    return HookRun(end, exit_code, sentence, 1.5, "the end of its output", LOG)


def measured(percent: float | None, commit: str = A) -> CoverageRun:
    return CoverageRun(commit, percent, "told by coverage.xml", 2.5, LOG)


# --- hooks


def test_the_last_run_of_a_hook_is_told_as_it_was_recorded(store: Store) -> None:
    item = new_item(store)
    second = ran("It was refused.", HookEnd.REFUSED, None)
    store.write(stands.hook_ran, item.id, Hook.DEPLOY, A, ran("It went well."), later(1))
    store.write(stands.hook_ran, item.id, Hook.DEPLOY, A, second, later(2))
    assert store.read(stands.last_hook, item.id, Hook.DEPLOY, A, since=NOW) == second


def test_a_run_for_another_commit_hook_or_item_or_of_an_earlier_time_is_not_told(store: Store) -> None:
    item, other = new_item(store), new_item(store, "WID-2")
    store.write(stands.hook_ran, item.id, Hook.DEPLOY, A, ran("It went well."), later(1))
    assert store.read(stands.last_hook, item.id, Hook.DEPLOY, A, since=later(1)) is not None
    assert store.read(stands.last_hook, item.id, Hook.DEPLOY, B, since=NOW) is None
    assert store.read(stands.last_hook, item.id, Hook.ROLLBACK, A, since=NOW) is None
    assert store.read(stands.last_hook, other.id, Hook.DEPLOY, A, since=NOW) is None
    assert store.read(stands.last_hook, item.id, Hook.DEPLOY, A, since=later(2)) is None


# --- probes


def test_looks_at_a_stand_are_told_in_the_order_in_which_they_were_made(store: Store) -> None:
    item = new_item(store)
    looks = (
        Probed(Health.HEALTHY, A, "It answers."),
        Probed(Health.INCONCLUSIVE, None, "It does not answer."),
        Probed(Health.DEGRADED, A, "It answers 500."),
    )
    for look in looks:
        store.write(stands.probed, item.id, Stand.PRODUCTION, A, look, later(1))
    assert store.read(stands.probes, item.id, Stand.PRODUCTION, A, since=later(1)) == looks


def test_looks_at_the_other_stand_for_another_commit_or_before_the_window_are_left_out(store: Store) -> None:
    item = new_item(store)
    look = Probed(Health.HEALTHY, A, "It answers.")
    store.write(stands.probed, item.id, Stand.PRODUCTION, A, look, later(1))
    assert store.read(stands.probes, item.id, Stand.STAGING, A, since=NOW) == ()
    assert store.read(stands.probes, item.id, Stand.PRODUCTION, B, since=NOW) == ()
    assert store.read(stands.probes, item.id, Stand.PRODUCTION, A, since=later(2)) == ()


# --- coverage


@pytest.mark.parametrize("last", [80.0, None])
def test_the_last_measurement_counts_whether_it_told_a_number_or_not(store: Store, last: float | None) -> None:
    item = new_item(store)
    for percent in (70.0, last):
        store.write(stands.coverage_measured, item.id, measured(percent), later(1))
    assert store.read(stands.coverage_of, item.id, A) == measured(last)


def test_a_commit_that_was_not_measured_has_no_coverage(store: Store) -> None:
    item = new_item(store)
    store.write(stands.coverage_measured, item.id, measured(80.0, B), later(1))
    assert store.read(stands.coverage_of, item.id, A) is None


def test_the_first_landing_sets_the_baseline_and_higher_ones_raise_it(store: Store) -> None:
    assert store.read(stands.baseline, "WID") is None
    assert store.write(stands.ratchet, "WID", 71.5, A, NOW)
    assert store.write(stands.ratchet, "WID", 72.0, B, later(1))
    assert store.read(stands.baseline, "WID") == Baseline(72.0, B)


@pytest.mark.parametrize("percent", [72.0, 71.9, 0.0])
def test_the_ratchet_never_lowers_the_baseline_nor_moves_it_to_an_equal_commit(store: Store, percent: float) -> None:
    store.write(stands.ratchet, "WID", 72.0, A, NOW)
    assert not store.write(stands.ratchet, "WID", percent, B, later(1))
    assert store.read(stands.baseline, "WID") == Baseline(72.0, A)


@pytest.mark.parametrize(
    ("percent", "left"), [(70.0, Baseline(70.0, B)), (72.0, Baseline(72.0, A)), (99.0, Baseline(72.0, A))]
)
def test_a_baseline_is_lowered_to_what_a_revert_leaves(store: Store, percent: float, left: Baseline) -> None:
    store.write(stands.ratchet, "WID", 72.0, A, NOW)
    store.write(stands.lower, "WID", percent, B, later(1))
    assert store.read(stands.baseline, "WID") == left


def test_each_project_has_its_own_baseline(store: Store) -> None:
    store.write(stands.ratchet, "WID", 72.0, A, NOW)
    store.write(stands.ratchet, "SHOP", 12.0, B, NOW)
    assert store.read(stands.baseline, "WID") == Baseline(72.0, A)
    assert store.read(stands.baseline, "SHOP") == Baseline(12.0, B)
