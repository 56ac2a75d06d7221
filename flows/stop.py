"""STOP: the item's agent and runs end, its worktree goes, and it is cancelled."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.store import items
from tasks import stopping
from tasks.outbox import deliver
from tasks.services import services


@flow(name="stop", flow_run_name="{work_item} · stop")
async def stop(work_item: str) -> State[None]:
    """Stop an item for good. Waits for a landing that is under way to end honestly, and says so. Idempotent."""
    root = await services()
    item = await root.store.aread(items.find, work_item)
    if item is None or item.stage.terminal or item.cancel_requested_at is None:
        return Completed(name="Nothing to stop", message=f"Nobody asked for {work_item} to be stopped.")
    if not await stopping.landing_is_over(root, item):
        return Completed(name="Waiting for the landing", message=f"{work_item} is landing; it is stopped after that.")
    await stopping.end_agents(work_item)
    await stopping.end_runs(work_item)
    ended = await stopping.cancel_item(root, item)
    if ended:
        await stopping.remove_worktree(root, item)
    await deliver(root, work_item)
    return Completed(name="Stopped" if ended else "Nothing to stop", message=f"{work_item} is stopped and cancelled.")
