"""The analyst writes the requirements and a person approves them."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import agent_work
from flows.stage import at_stage
from pipeline.stages import Stage


@flow(name="analysis", flow_run_name="{work_item} · analysis")
async def analysis(work_item: str) -> State[None]:
    """The analyst writes the requirements and a person approves them. Harmless at any other stage."""
    return await at_stage(work_item, Stage.ANALYSIS, agent_work)
