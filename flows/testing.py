"""The tester reports, and Orch runs the tests itself."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import agent_work
from flows.stage import at_stage
from pipeline.stages import Stage


@flow(name="testing", flow_run_name="{work_item} · testing")
async def testing(work_item: str) -> State[None]:
    """The tester reports, and Orch runs the tests itself. Harmless at any other stage."""
    return await at_stage(work_item, Stage.TESTING, agent_work)
