import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

from deployments.pools import AGENTS, PoolState, ensure_pool
from pipeline.errors import SettingsError


async def test_a_missing_pool_is_created_with_its_limit_and_job_template(empty: PrefectClient):
    state = await ensure_pool(empty, AGENTS, 2)
    pool = await empty.read_work_pool(AGENTS)
    assert (pool.type, pool.concurrency_limit, pool.is_paused) == ("process", 2, False)
    assert "command" in pool.base_job_template["variables"]["properties"]
    assert state.change is not None


async def test_a_pool_as_wanted_is_not_written(empty: PrefectClient):
    await ensure_pool(empty, AGENTS, 2)
    before = await empty.read_work_pool(AGENTS)
    assert await ensure_pool(empty, AGENTS, 2) == PoolState(paused=False, change=None)
    assert await empty.read_work_pool(AGENTS) == before


async def test_another_limit_is_written_and_a_paused_pool_stays_paused(empty: PrefectClient):
    await ensure_pool(empty, AGENTS, 2)
    await empty.update_work_pool(AGENTS, WorkPoolUpdate(is_paused=True, description="mine"))
    state = await ensure_pool(empty, AGENTS, 3)
    pool = await empty.read_work_pool(AGENTS)
    assert state.paused
    assert (pool.concurrency_limit, pool.is_paused, pool.description) == (3, True, "mine")


async def test_a_pool_of_another_type_is_refused(empty: PrefectClient):
    await empty.create_work_pool(WorkPoolCreate(name=AGENTS, type="docker"))
    with pytest.raises(SettingsError, match="orch-agents is of type docker"):
        await ensure_pool(empty, AGENTS, 2)
