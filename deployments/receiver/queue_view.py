"""What `/queue` tells: every live item, what it waits for and since when, owners, merge queues, limits and labels.

It is read from the store and the settings alone: Prefect is not asked.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Any

from sqlmodel import Session

from deployments.control import explained
from deployments.limits import MERGES_AT_ONCE
from pipeline.decide import held_because
from pipeline.model import WorkItem
from pipeline.store import (
    counters,
    deliveries,
    due,
    freezes,
    heartbeats,
    inbox,
    items,
    leases,
    outbox,
    places,
    queue,
    set_aside,
    waits,
)
from tasks.entrance import rules
from tasks.services import Services

STOPPING = 500
"""Items being stopped that are told, at most."""


FRESH_S = 3.0
"""Seconds for which the same is told to everybody who asks: nobody has to be let in to ask, and many cost no more."""


class QueueView:
    """What `/queue` tells, kept for a moment."""

    def __init__(self, root: Services) -> None:
        self._root = root
        self._made, self._view = -math.inf, dict[str, Any]()
        self._making = asyncio.Lock()

    async def now(self) -> dict[str, Any]:
        """The view, at most `FRESH_S` old."""
        async with self._making:
            clock = asyncio.get_running_loop().time()
            if clock - self._made >= FRESH_S:
                self._view = await self._root.store.aread(queue_view, self._root)
                self._made = clock
            return self._view


def queue_view(session: Session, root: Services) -> dict[str, Any]:
    """The queue as JSON-ready data."""
    last = heartbeats.last(session, heartbeats.TICK)
    return {
        "items": [_item(session, item, root) for item in items.live(session)],
        "merge_queues": {
            project: [ticket.item_id for ticket in queue.tickets(session, project)]
            for project in queue.projects(session)
        },
        "limits": limits(session, root),
        "auto_labels": auto_labels(session, root),
        "stop": {"enabled": root.settings.stop_status_enabled, "items": [*_stopping(session, root)]},
        "freezes": [freeze.sentence for freeze in freezes.all_of_them(session)],
        "active": {project: list(places.active(session, project).values()) for project in root.projects},
        "unconsumed_signals": len(inbox.unconsumed(session)),
        "pending_deliveries": len(deliveries.pending(session)),
        "unsent_letters": outbox.unsent(session),
        "last_tick": last.isoformat() if last else None,
        "set_aside": [aside.sentence for aside in set_aside.all_of_them(session)],
        "reconciler": dict(counters.totals(session)),
        "leases": [_lease(owner, root) for owner in leases.owners(session)],
    }


def limits(session: Session, root: Services) -> dict[str, Any]:
    """How much may happen at once, as configured, and who merges, as the store tells."""
    owned = {one.item.id: one for one in due.owned(session)}
    return {
        "max_concurrency": root.settings.max_concurrency,
        "control_concurrency": root.settings.control_concurrency,
        "merge": {
            key: {"limit": project.merge_limit, "slots": MERGES_AT_ONCE, "holder": _merging(session, root, key, owned)}
            for key, project in root.projects.items()
        },
        "max_active_items": {key: project.max_active_items for key, project in root.projects.items()},
    }


def _merging(
    session: Session, root: Services, project: str, owned: Mapping[int, due.Standing]
) -> dict[str, Any] | None:
    """Who has its turn in the merge queue and is at work: nobody else can hold the merge lock. None while nobody does."""
    at_work = (owned.get(ticket.item_id) for ticket in queue.tickets(session, project) if ticket.first)
    found = next(filter(None, at_work), None)
    if found is None or found.owner is None or found.owner.stage not in items.MERGING:
        return None
    if not leases.lives(found.owner, root.now(), root.alive):
        return None
    return {"item": found.item.key, "run": found.owner.flow_run_id, "since": found.owner.since.isoformat()}


def auto_labels(session: Session, root: Services) -> dict[str, Any]:
    """The labels that decide instead of a person, where they do, and what they have decided about live items."""
    settings = root.settings
    return {
        "enabled": settings.auto_label_enabled,
        "approve": settings.auto_approve_label,
        "deploy": settings.auto_deploy_label,
        "projects": [key for key, project in root.projects.items() if settings.heeds_labels(project.repository)],
        "lifts": [
            {
                "key": item.key,
                "gate": decision.kind,
                "label": decision.actor.removeprefix(waits.BY_LABEL),
                "commit": decision.commit,
                "at": decision.at.isoformat(),
            }
            for item, decision in waits.lifted_by_labels(session)
        ],
    }


def _stopping(session: Session, root: Services) -> Iterator[dict[str, Any]]:
    """Items that are being stopped: since when, and what their stop waits for."""
    for item in due.stopping(session, limit=STOPPING):
        told = told_of(session, item, root)
        yield {"key": item.key, "since": told["since"], "waits_for": told["waits_for"], "then": told["then"]}


def told_of(session: Session, item: WorkItem, root: Services) -> dict[str, Any]:
    """Why the item does not go on, as `orch why` tells it."""
    by = rules(root, item.project)
    return explained(session, item, root.now(), root.alive, limit=by.limit, sources=by.sources)


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
        "explained": told_of(session, item, root),
        "waiting_since": wait.since.isoformat() if wait else None,
        "deadline": wait.deadline.isoformat() if wait and wait.deadline else None,
        "run": owner.flow_run_id if owner and working else None,
    }
