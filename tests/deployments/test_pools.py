from datetime import UTC, datetime
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.states import Running

from deployments.pools import AGENTS, CONTROL, PoolState, ensure_merge_queue, ensure_pool
from deployments.registration import register
from pipeline.errors import SettingsError
from pipeline.model import Wait, WaitKind
from pipeline.projects import Project, Registry
from pipeline.stages import Stage
from tasks.looks import queue_of


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


async def test_the_merge_queue_has_half_of_the_control_pools_places(empty: PrefectClient):
    await ensure_pool(empty, CONTROL, 4)
    assert await ensure_merge_queue(empty, 4) == "created work queue orch-control/merge for 2 runs at once"
    assert await ensure_merge_queue(empty, 4) is None
    assert await ensure_merge_queue(empty, 1) == "work queue orch-control/merge: 2 -> 1 runs at once"


async def test_merges_leave_places_for_what_heals(empty: PrefectClient):
    registry = Registry((Project(key="WID", plane_project=UUID(int=1), repository="acme/wid", test_command=("true",)),))
    ids = (await register(empty, registry=registry, agents_limit=1, control_limit=4)).deployments
    for key in ("WID-1", "WID-2", "WID-3", "WID-4", "WID-5"):
        await empty.create_flow_run_from_deployment(ids["deploy_staging"], parameters={"work_item": key})
    tick = await empty.create_flow_run_from_deployment(ids["reconcile"])
    found = await empty.get_scheduled_flow_runs_for_work_pool(CONTROL, scheduled_before=datetime.now(UTC))
    given = [one.flow_run.id for one in found]
    assert (len(given), tick.id in given) == (3, True)


async def test_a_look_at_production_does_not_queue_up_behind_merges(empty: PrefectClient):
    registry = Registry((Project(key="WID", plane_project=UUID(int=1), repository="acme/wid", test_command=("true",)),))
    ids = (await register(empty, registry=registry, agents_limit=1, control_limit=4)).deployments
    for key in ("WID-1", "WID-2"):
        await empty.create_flow_run_from_deployment(ids["deploy"], parameters={"work_item": key}, state=Running())
    merge, look = [
        await empty.create_flow_run_from_deployment(
            ids["deploy"], parameters={"work_item": key}, work_queue_name=queue_of(waits_for(kind))
        )
        for key, kind in (("WID-3", WaitKind.MERGE_TURN), ("WID-4", WaitKind.MONITOR))
    ]
    found = await empty.get_scheduled_flow_runs_for_work_pool(CONTROL, scheduled_before=datetime.now(UTC))
    given = [one.flow_run.id for one in found]
    assert (merge.id in given, look.id in given) == (False, True)


def waits_for(kind: WaitKind) -> Wait:
    return Wait(1, "k", kind, Stage.DEPLOY, 1, "?", datetime.now(UTC), None, None, None, None, None, None)
