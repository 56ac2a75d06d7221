from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from deployments.limits import LimitState, ensure_merge_limit
from pipeline.projects import Project

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
