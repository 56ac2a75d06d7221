import asyncio
from itertools import count
from types import SimpleNamespace
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from deployments.limits import LimitState, ensure_merge_limit, ensure_plane_budget
from pipeline.projects import Project
from tasks.budget import WAIT_AT_MOST_S, Budget
from tests.support.faulty import Fault, answer, faulty_server, hang
from tests.support.prefect_address import talking_to

PROJECT = Project(key="WID", plane_project=UUID(int=1), repository="acme/widgets", test_command=("true",))


async def test_a_project_gets_a_merge_lock_of_one(empty: PrefectClient):
    state = await ensure_merge_limit(empty, PROJECT)
    limit = await empty.read_global_concurrency_limit_by_name("merge-WID")
    assert (limit.limit, limit.active) == (1, True)
    assert state == LimitState(active=True, change="created concurrency limit merge-WID")


async def test_a_merge_lock_as_wanted_is_not_written(empty: PrefectClient):
    await ensure_merge_limit(empty, PROJECT)
    before = await empty.read_global_concurrency_limit_by_name("merge-WID")
    assert await ensure_merge_limit(empty, PROJECT) == LimitState(active=True, change=None)
    assert await empty.read_global_concurrency_limit_by_name("merge-WID") == before


async def test_a_merge_lock_of_two_is_set_back_to_one_and_stays_inactive(empty: PrefectClient):
    await ensure_merge_limit(empty, PROJECT)
    changed = GlobalConcurrencyLimitUpdate(limit=2, active=False)
    await empty.update_global_concurrency_limit("merge-WID", changed)
    state = await ensure_merge_limit(empty, PROJECT)
    limit = await empty.read_global_concurrency_limit_by_name("merge-WID")
    assert (limit.limit, limit.active) == (1, False)
    assert state == LimitState(active=False, change="concurrency limit merge-WID: 2 -> 1")


async def test_a_budget_lets_no_more_through_in_any_minute_than_it_says(empty: PrefectClient):
    state = await ensure_plane_budget(empty, "", 60)
    limit = await empty.read_global_concurrency_limit_by_name("plane-api")
    assert limit.limit + 60 * limit.slot_decay_per_second == 60
    assert state == LimitState(active=True, change="created concurrency limit plane-api: 60 requests a minute")
    assert await ensure_plane_budget(empty, "", 60) == LimitState(active=True, change=None)


async def test_a_budget_follows_its_setting_and_stays_switched_off(empty: PrefectClient):
    await ensure_plane_budget(empty, "stream", 60)
    await empty.update_global_concurrency_limit("plane-api-stream", GlobalConcurrencyLimitUpdate(active=False))
    state = await ensure_plane_budget(empty, "stream", 300)
    limit = await empty.read_global_concurrency_limit_by_name("plane-api-stream")
    assert (limit.limit, limit.slot_decay_per_second, limit.active) == (75, 3.75, False)
    assert state == LimitState(active=False, change="concurrency limit plane-api-stream: 300 requests a minute")


async def test_without_a_budget_none_is_made(empty: PrefectClient):
    assert await ensure_plane_budget(empty, "", 0) == LimitState(active=True, change=None)
    assert "plane-api" not in [limit.name for limit in await empty.read_global_concurrency_limits()]


# --- what a budget does to requests


class WouldWait(Exception):
    """The budget has no slot now."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would wait is told so instead."""

    async def nap(seconds: float) -> None:
        raise WouldWait(seconds)

    monkeypatch.setattr("tasks.budget.asyncio", SimpleNamespace(sleep=nap, timeout=asyncio.timeout))


async def test_requests_within_the_burst_go_at_once_and_the_next_one_waits_for_its_turn(
    empty: PrefectClient, impatient: None
):
    await ensure_plane_budget(empty, "", 8)  # two at once, one more every ten seconds
    first, second = Budget(), Budget()  # two processes
    await first.admit("")
    await second.admit("")
    with pytest.raises(WouldWait):
        await first.admit("")


async def test_a_request_whose_turn_does_not_come_is_made_all_the_same(empty: PrefectClient, impatient: None):
    await ensure_plane_budget(empty, "", 1)
    seconds = count(0, WAIT_AT_MOST_S)
    budget = Budget(clock=lambda: next(seconds))
    await Budget().admit("")
    await budget.admit("")


async def test_a_budget_that_is_not_there_or_switched_off_lets_everything_through(
    empty: PrefectClient, impatient: None
):
    await ensure_plane_budget(empty, "stream", 4)
    await empty.update_global_concurrency_limit("plane-api-stream", GlobalConcurrencyLimitUpdate(active=False))
    for _ in range(3):
        await Budget().admit("")
        await Budget().admit("stream")


@pytest.mark.parametrize("fault", [hang(), answer(500), answer(404)], ids=["hangs", "500", "404"])
async def test_a_prefect_server_that_does_not_count_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, fault: Fault):
    monkeypatch.setattr("tasks.budget.ASK_AT_MOST_S", 0.5)
    with faulty_server([fault]) as prefect, talking_to(f"{prefect.url}/api"):
        await Budget().admit("")


async def test_a_prefect_server_that_is_away_is_not_asked_for_each_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tasks.budget.ASK_AT_MOST_S", 0.5)
    with faulty_server([hang()]) as prefect, talking_to(f"{prefect.url}/api"):
        budget = Budget(clock=lambda: 100.0)
        await budget.admit("")
        asked = len(prefect.requests)
        await budget.admit("")
        assert len(prefect.requests) == asked
