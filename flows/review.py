"""The reviewer judges exactly this head."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import agent_work
from flows.stage import at_stage
from pipeline.stages import Stage


@flow(name="review", flow_run_name="{work_item} · review")
async def review(work_item: str) -> State[None]:
    """The reviewer judges exactly this head. Harmless at any other stage."""
    return await at_stage(work_item, Stage.REVIEW, agent_work)
