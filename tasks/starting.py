"""Starting control flows whose events were announced in vain, without piling runs up behind a pool that is full."""

from collections.abc import Sequence

from tasks import prefect_api
from tasks.looks import on_its_way
from tasks.services import Services


async def without_a_run(root: Services, flow: str, keys: Sequence[str]) -> list[str]:
    """Of these items, those of which no run of `flow` is on its way. Prefect is asked once about all, about none never.

    Nobody where a whole page of runs is on its way.
    """
    if not keys:
        return []
    runs, crowded = await prefect_api.begun_runs_of(flow)
    now = root.now()
    coming = {str(run.parameters.get("work_item")) for run in runs if on_its_way(run, now)}
    return [] if crowded else [key for key in keys if key not in coming]
