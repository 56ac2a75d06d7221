"""Prefect's global concurrency limits: the merge lock of each project, and the budgets of requests to Plane."""

from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from pipeline.projects import Project
from tasks.budget import limit_of

MERGES_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class LimitState:
    """What was found or done about a limit: `change` is a sentence, None when the limit was as wanted."""

    active: bool
    change: str | None


async def ensure_merge_limit(client: PrefectClient, project: Project) -> LimitState:
    """Have the merge lock of `project`, for one run at a time. Idempotent.

    A limit that the operator deactivated stays so; a different number of slots is set back to one. A strict
    `concurrency()` of a limit that does not exist fails, a lenient one runs unlocked: hence before any run.
    """
    name = project.merge_limit
    try:
        found = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=MERGES_AT_ONCE, active=True)
        )
        return LimitState(active=True, change=f"created concurrency limit {name}")
    if found.limit == MERGES_AT_ONCE:
        return LimitState(active=found.active, change=None)
    await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=MERGES_AT_ONCE))
    return LimitState(active=found.active, change=f"concurrency limit {name}: {found.limit} -> {MERGES_AT_ONCE}")


async def ensure_plane_budget(client: PrefectClient, voice: str, per_minute: int) -> LimitState:
    """Have the budget of requests with the token of `voice`, "" being the shared one. Idempotent; 0 makes none.

    Slots come back one by one; a quarter of a minute's requests may be made at once. Any 60 seconds then see
    `per_minute` requests at most, as Plane counts them. A budget that the operator deactivated stays so.
    """
    name, burst = limit_of(voice), max(1, per_minute // 4)
    decay = max(per_minute - burst, 1) / 60
    try:
        found = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        if not per_minute:
            return LimitState(active=True, change=None)
        made = GlobalConcurrencyLimitCreate(name=name, limit=burst, slot_decay_per_second=decay, active=True)
        await client.create_global_concurrency_limit(made)
        return LimitState(active=True, change=f"created concurrency limit {name}: {per_minute} requests a minute")
    if not per_minute or (found.limit == burst and abs(found.slot_decay_per_second - decay) < 1e-6):
        return LimitState(active=found.active, change=None)
    changed = GlobalConcurrencyLimitUpdate(limit=burst, slot_decay_per_second=decay)
    await client.update_global_concurrency_limit(name, changed)
    return LimitState(active=found.active, change=f"concurrency limit {name}: {per_minute} requests a minute")
