"""What somebody has paused in Prefect: nothing is started by it, and only Prefect knows."""

from collections.abc import AsyncIterator

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.exceptions import ObjectNotFound

from deployments.peers import prefect_client
from deployments.pools import AGENTS, CONTROL
from pipeline.errors import OrchError
from pipeline.settings import Settings
from tasks.prefect_api import CONTROL_TAG, STAGE_TAG


async def paused(settings: Settings) -> list[str]:
    """One sentence for each work pool, queue and deployment of Orch's that is paused, or for why Prefect cannot tell."""
    try:
        async with prefect_client(settings) as client:
            found = [what async for what in _paused(client)]
    except OrchError as error:
        return [f"Whether anything is paused in Prefect cannot be told: {error}"]
    return [f"In Prefect the {what} is paused: it starts nothing until somebody resumes it there." for what in found]


async def _paused(client: PrefectClient) -> AsyncIterator[str]:
    for name in (AGENTS, CONTROL):
        try:
            pool = await client.read_work_pool(name)
        except ObjectNotFound:
            continue
        if pool.is_paused:
            yield f"work pool {name}"
        for queue in await client.read_work_queues(work_pool_name=name):
            if queue.is_paused:
                yield f"work queue {name}/{queue.name}"
    ours = DeploymentFilter(tags=DeploymentFilterTags(any_=[STAGE_TAG, CONTROL_TAG]))
    for deployment in await client.read_deployments(deployment_filter=ours):
        if deployment.paused:
            yield f"deployment {deployment.name}"
