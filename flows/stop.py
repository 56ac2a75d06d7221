"""STOP: the item's agent and runs end, what it left outside goes, and it is cancelled."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.errors import CouldNotRun, LeaseLost, Refused, StaleWrite
from pipeline.model import WorkItem
from pipeline.store import items
from tasks import leftovers, ownership, stopping
from tasks.outbox import deliver
from tasks.services import Services, services


@flow(name="stop", flow_run_name="{work_item} · stop")
async def stop(work_item: str) -> State[None]:
    """Stop an item for good. One that has landed goes on, one that is landing is stopped later; both are said.

    Idempotent: what could not be done now is tried again by the tick.
    """
    root = await services()
    item = await root.store.aread(items.find, work_item)
    if item is None or item.stage.terminal or item.cancel_requested_at is None:
        return Completed(name="Nothing to stop", message=f"Nobody asked for {work_item} to be stopped.")
    if await root.store.aread(stopping.stopped_elsewhere, item, root):
        return Completed(name="Nothing to do", message=f"Another run is stopping {work_item} already.")
    try:
        kept = await stopping.kept_from_stopping(root, item)
        if kept is not None:
            return Completed(name=kept.name, message=kept.sentence)
        await stopping.end_agents(work_item)
        await stopping.end_runs(work_item)
        return await _end(root, item)
    except (StaleWrite, LeaseLost) as error:
        return Completed(name="Overtaken", message=str(error))
    except (Refused, CouldNotRun) as error:
        return Completed(name="Waiting for the next try", message=f"{work_item} is not stopped yet: {error}")
    finally:
        await deliver(root, work_item)


async def _end(root: Services, item: WorkItem) -> State[None]:
    lease = await stopping.take_over(root, item)
    if isinstance(lease, str):
        return Completed(name="Not stopped", message=lease)
    try:
        with ownership.renewed(root, lease):
            left = await leftovers.clean_up(item.key, lease)
            await stopping.cancel_item(root, item, lease, left)
    finally:
        await stopping.give_back(root, item, lease)
    return Completed(name="Stopped", message=" ".join([f"{item.key} is stopped and cancelled.", *left]))
