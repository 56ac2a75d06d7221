"""The architect records the decisions."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import agent_work
from flows.stage import at_stage
from pipeline.stages import Stage


@flow(name="architecture", flow_run_name="{work_item} · architecture")
async def architecture(work_item: str) -> State[None]:
    """The architect records the decisions. Harmless at any other stage."""
    return await at_stage(work_item, Stage.ARCHITECTURE, agent_work)
