"""The two work pools and their workers."""

import asyncio
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from pipeline.errors import SettingsError
from tasks import prefect_api

AGENTS = "orch-agents"
CONTROL = "orch-control"
CONTROL_LIMIT = 4
MERGE = "merge"
"""The queue of the control pool for what takes minutes: a merge gate's tests, a deploy's hook."""
TYPE = "process"

DESCRIPTIONS = {
    AGENTS: "Stages that a coding agent works; as many at once as ORCH_MAX_CONCURRENCY allows.",
    CONTROL: "Everything that must never wait behind an agent: start, wake, stop, heal, stage, deploy.",
}
MERGES = "Merge gates and deploys, which take minutes: half of the pool's places."

WORKER_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class PoolState:
    """What `ensure_pool` found or did: `change` is a sentence, None when the pool was as wanted."""

    paused: bool
    change: str | None


async def ensure_pool(client: PrefectClient, name: str, limit: int) -> PoolState:
    """Have the process pool `name` with at most `limit` runs at once. Idempotent.

    Of an existing pool only a different limit is changed: whether it is paused, its description and its job template
    are the operator's. Raises `SettingsError` when the pool is of another type.
    """
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(_wanted(name, limit))
        return PoolState(paused=False, change=f"created work pool {name} for {limit} runs at once")
    if pool.type != TYPE:
        raise SettingsError(
            f"Work pool {name} is of type {pool.type}, Orch needs {TYPE}. Rename or delete it in Prefect."
        )
    if pool.concurrency_limit == limit:
        return PoolState(paused=pool.is_paused, change=None)
    await client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))
    return PoolState(
        paused=pool.is_paused, change=f"work pool {name}: {pool.concurrency_limit} -> {limit} runs at once"
    )


async def ensure_merge_queue(client: PrefectClient, control_limit: int) -> str | None:
    """Have the queue of merges and deploys, with half of the control pool's places; a sentence for a change.

    The other half is for what starts, wakes, stops and heals: however many projects merge, it finds a place at once. Of an
    existing queue only a different limit is changed. Idempotent.
    """
    limit = max(1, control_limit // 2)
    try:
        queue = await client.read_work_queue_by_name(MERGE, work_pool_name=CONTROL)
    except ObjectNotFound:
        await client.create_work_queue(MERGE, description=MERGES, concurrency_limit=limit, work_pool_name=CONTROL)
        return f"created work queue {CONTROL}/{MERGE} for {limit} runs at once"
    if queue.concurrency_limit == limit:
        return None
    await client.update_work_queue(queue.id, concurrency_limit=limit)
    return f"work queue {CONTROL}/{MERGE}: {queue.concurrency_limit} -> {limit} runs at once"


async def wait_until_polled(client: PrefectClient, pool: str, worker: str) -> None:
    """Return when `worker` asks `pool` for work; wait for it as long as it takes."""
    while True:
        workers = await client.read_workers_for_work_pool(pool)
        if any(found.name == worker and found.status == WorkerStatus.ONLINE for found in workers):
            return
        await asyncio.sleep(WORKER_POLL_S)


def _wanted(name: str, limit: int) -> WorkPoolCreate:
    return WorkPoolCreate(
        name=name,
        type=TYPE,
        description=DESCRIPTIONS.get(name),
        concurrency_limit=limit,
        base_job_template=ProcessWorker.get_default_base_job_template(),
    )


async def end_never_begun(pool: str) -> int:
    """Tell Prefect that the pool's Pending runs have crashed; how many. For when its only worker has died. Idempotent.

    Prefect counts them against the pool's limit for ever, and a pool that is full of them starts nothing, not even the
    tick. A process that such a worker did start meanwhile is refused its run, and ends.
    """
    async with get_client() as client:
        pending = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            limit=prefect_api.PAGE,
        )
    for run in pending:
        await prefect_api.crashed(str(run.id), "Its worker died before it began.")
    return len(pending)
