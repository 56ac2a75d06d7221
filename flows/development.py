"""The developer writes code and tests; the pull request is opened and CI has to be green."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import agent_work
from flows.run import Run
from flows.stage import at_stage
from pipeline.outcomes import Outcome
from pipeline.stages import Stage
from tasks import landing


async def develop(run: Run) -> Run | Outcome:
    """The agent's work, and its pull request."""
    worked = await agent_work(run)
    if isinstance(worked, Run):
        await landing.open_pull(run.item.key, run.lease.token)
    return worked


@flow(name="development", flow_run_name="{work_item} · development")
async def development(work_item: str) -> State[None]:
    """The developer writes code and tests; CI has to be green. Harmless at any other stage."""
    return await at_stage(work_item, Stage.DEVELOPMENT, develop)
