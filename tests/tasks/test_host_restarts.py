"""A host that is started anew takes its runs with it, which says nothing about their items: it counts as no failure."""

import os
from dataclasses import replace

import pytest

from deployments.control import release
from pipeline.clients.process_identity import identity
from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import counters, crashes, due, items, leases
from tasks.healing import heal_one
from tasks.looks import Observed
from tasks.ownership import Claimed, NotNow, claim
from tasks.reclaiming import reclaim_dead
from tests.support.services import Desk

FIVE = crashes.TOO_MANY


def in_flight(desk: Desk, *, boot: str = "the boot before", **columns: object) -> WorkItem:
    """An item whose run was at work when its host went down, with the failure that it had counted at its entry."""
    item = desk.item(Stage.REVIEW, **columns)
    item = desk.store.write(items.update, item, None, desk.clock.now, failures=item.failures + 1)
    desk.store.write(
        leases.claim, item.id, flow_run_id=f"run-{item.id}", stage=item.stage, token=f"token-{item.id}",
        process=replace(identity(os.getpid()), boot=boot), now=desk.clock.now, ttl=30, alive=lambda _: True,
    )  # fmt: skip
    return item


def enters(desk: Desk, item: WorkItem) -> Claimed | NotNow:
    return claim(desk.root, item.key, item.stage, f"next-{item.id}")


def reclaim(desk: Desk) -> list[str]:
    return desk.store.write(
        reclaim_dead, desk.clock.now, desk.root.alive, desk.root.went_with_its_host, desk.root.texts
    )


def told(desk: Desk, item: WorkItem) -> int:
    """How often people were told that the item's run had died."""
    return sum(f"message:recovered:{item.id}:" in str(row.dedupe) for row in desk.letters)


@pytest.mark.parametrize("buried_first", [False, True])
def test_five_runs_that_went_with_their_host_go_on_at_once_and_trip_no_breaker(desk: Desk, buried_first: bool) -> None:
    found = [in_flight(desk) for _ in range(FIVE)]
    if buried_first:
        assert reclaim(desk) == [item.key for item in found]
        assert [desk.again(item).failures for item in found] == [0] * FIVE
    claims = [enters(desk, item) for item in found]
    assert [c.item.failures for c in claims if isinstance(c, Claimed)] == [1] * FIVE  # that of the run that works now
    assert [told(desk, item) for item in found] == [1] * FIVE
    assert desk.store.read(crashes.broken, "SHOP") is None


def test_five_runs_that_died_under_a_host_that_goes_on_do(desk: Desk) -> None:
    found = [in_flight(desk, boot=identity(os.getpid()).boot) for _ in range(FIVE)]
    [desk.store.write(leases.drop, item.id) for item in found]
    assert isinstance([enters(desk, item) for item in found][-1], NotNow)
    assert desk.store.read(crashes.broken, "SHOP") is not None


def test_deaths_of_before_the_restart_stay_counted_once(desk: Desk) -> None:
    item = in_flight(desk, failures=2)
    desk.store.write(crashes.count, item, desk.clock.now)  # as the run did when it entered after the second death
    reclaim(desk)
    assert desk.again(item).failures == 2
    claimed = enters(desk, item)
    assert isinstance(claimed, Claimed)
    assert claimed.item.failures == 3
    more = [desk.store.write(crashes.count, item, desk.clock.now) for _ in range(FIVE - 1)]
    assert more == [False, False, False, True]


def test_an_item_that_was_about_to_be_escalated_is_not_by_a_restart(desk: Desk) -> None:
    item = in_flight(desk, failures=len(desk.settings.crash_backoff_s))
    assert isinstance(enters(desk, item), Claimed)
    assert desk.again(item).hold is None


def test_an_item_that_its_dead_run_had_moved_on_is_taken_as_it_is(desk: Desk) -> None:
    item = in_flight(desk)
    desk.store.write(items.update, item, f"token-{item.id}", desk.clock.now, failures=0)
    assert isinstance(enters(desk, item), Claimed)
    assert (desk.again(item).failures, told(desk, item)) == (1, 0)


def test_a_run_on_another_host_counts_for_nobody_can_tell_what_it_died_of(desk: Desk) -> None:
    elsewhere = replace(identity(os.getpid()), host="elsewhere", boot="another")
    assert not desk.root.went_with_its_host(elsewhere)


async def test_a_tick_frees_a_held_item_whose_run_went_with_its_host(desk: Desk) -> None:
    item = in_flight(desk, hold="blocked", hold_reason="the repository is gone")
    found = desk.store.read(due.standing, item.key)
    assert found is not None
    assert await heal_one(desk.root, found, Observed({}, {})) == "its run died; the item is held"
    assert (desk.again(item).failures, desk.store.read(counters.totals)[counters.RECLAIMED]) == (0, 1)


def test_an_operator_who_takes_the_item_away_counts_no_failure_either(desk: Desk) -> None:
    item = in_flight(desk)
    desk.store.write(
        release, desk.root.texts, item.key, "ada", desk.clock.now, desk.root.alive, desk.root.went_with_its_host
    )
    assert (desk.again(item).failures, desk.store.read(leases.owners)) == (0, [])
