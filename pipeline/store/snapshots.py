"""All that may keep an item, read at once for `pipeline.why`."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from pipeline.model import WorkItem
from pipeline.store import admission, drains, freezes, journal, leases, queue, waits
from pipeline.store.leases import Alive
from pipeline.why import Snapshot


def snapshot(
    session: Session, item: WorkItem, *, now: datetime, alive: Alive, limit: int, sources: Sequence[str]
) -> Snapshot:
    """The item with its wait, its living owner, its places in queues and what it has begun."""
    owner = leases.owner(session, item.id)
    if owner is not None and not leases.lives(owner, now, alive):
        owner = None
    freeze, broken = freezes.in_the_way(session, item.project), freezes.breaker(session, item.project)
    tickets = queue.tickets(session, item.project)
    return Snapshot(
        item=item,
        now=now,
        wait=waits.open_wait(session, item.id),
        run=owner.flow_run_id if owner else None,
        run_since=owner.since if owner else None,
        effects=tuple(effect.name for effect in journal.of_item(session, item.id) if effect.open),
        ahead=next((ticket.ahead for ticket in tickets if ticket.item_id == item.id), None),
        facts=admission.facts(session, item, sources),
        limit=limit,
        freeze=freeze.sentence if freeze else None,
        broken=broken.sentence if broken else None,
        drain=drains.in_the_way(session, item.key, now),
    )
