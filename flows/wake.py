"""Something about an item may have changed: apply what it was told and start what follows."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks import healing, signals
from tasks.outbox import deliver
from tasks.services import services


@flow(name="wake", flow_run_name="{work_item} · wake")
async def wake(work_item: str) -> State[None]:
    """Drain the item's signals in order and start what follows. Idempotent; harmless for an unknown item."""
    root = await services()
    followed = await signals.drain(root, work_item)
    healed = await healing.heal(root, work_item)
    await deliver(root, work_item)
    sentences = [*followed, *([healed] if healed else [])]
    return Completed(name="Woken" if sentences else "Nothing to do", message="; ".join(sentences) or "Nothing to do.")
