"""The merge lock of each project: a global concurrency limit of one."""

from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from pipeline.projects import Project

MERGES_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class LimitState:
    """What `ensure_merge_limit` found or did: `change` is a sentence, None when the limit was as wanted."""

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
