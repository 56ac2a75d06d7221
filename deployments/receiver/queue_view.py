"""What `/queue` tells: every live item, what it waits for and since when, owners and merge queues."""

from typing import Any

from sqlmodel import Session

from deployments.control import explained
from pipeline.decide import held_because
from pipeline.model import WorkItem
from pipeline.store import counters, freezes, heartbeats, inbox, items, leases, outbox, places, queue, set_aside, waits
from tasks.entrance import rules
from tasks.services import Services


def queue_view(session: Session, root: Services) -> dict[str, Any]:
    """The queue as JSON-ready data."""
    last = heartbeats.last(session, "reconcile")
    return {
        "items": [_item(session, item, root) for item in items.live(session)],
        "merge_queues": {
            project: [ticket.item_id for ticket in queue.tickets(session, project)]
            for project in queue.projects(session)
        },
        "freezes": [freeze.sentence for freeze in freezes.all_of_them(session)],
        "active": {project: list(places.active(session, project).values()) for project in root.projects},
        "unconsumed_signals": len(inbox.unconsumed(session)),
        "pending_deliveries": len(inbox.pending(session)),
        "unsent_letters": outbox.unsent(session),
        "last_tick": last.isoformat() if last else None,
        "set_aside": [aside.sentence for aside in set_aside.all_of_them(session)],
        "reconciler": dict(counters.totals(session)),
        "leases": [_lease(owner, root) for owner in leases.owners(session)],
    }


def _lease(owner: leases.Owner, root: Services) -> dict[str, Any]:
    return {
        "item": owner.item_id,
        "stage": owner.stage,
        "run": owner.flow_run_id,
        "host": owner.process.host,
        "since": owner.since.isoformat(),
        "lives": leases.lives(owner, root.now(), root.alive),
    }


def _item(session: Session, item: WorkItem, root: Services) -> dict[str, Any]:
    wait = waits.open_wait(session, item.id)
    owner = leases.owner(session, item.id)
    by = rules(root, item.project)
    working = owner is not None and leases.lives(owner, root.now(), root.alive)
    return {
        "id": item.id,
        "key": item.key,
        "title": item.title,
        "stage": item.stage,
        "visit": item.visit,
        "since": item.entered_at.isoformat(),
        "hold": item.hold,
        "waiting_for": wait.kind if wait else None,
        "why": held_because(item) or (wait.sentence if wait else None),
        "explained": explained(session, item, root.now(), root.alive, limit=by.limit, sources=by.sources),
        "waiting_since": wait.since.isoformat() if wait else None,
        "deadline": wait.deadline.isoformat() if wait and wait.deadline else None,
        "run": owner.flow_run_id if owner and working else None,
    }
