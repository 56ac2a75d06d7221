"""Leaving alone what a person keeps aside on the board: the tick starts nothing of it."""

import asyncio
from datetime import timedelta

from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.model import WorkItem
from pipeline.stages import Status
from pipeline.store import counters, heartbeats, sightings
from tasks.services import Services

LEFT_ALONE = (Status.BLOCKED, Status.NEEDS_INPUT, Status.AWAITING_DEPLOY, Status.DEPLOYING, Status.MONITORING)

FRESH = timedelta(seconds=90)
"""How old a look through a board may be for its word about a card to count without another call."""

ASK_S = 5
"""How long Plane may take to say where one card stands."""


async def kept_aside(root: Services, item: WorkItem) -> str | None:
    """Why the item is to be left alone; None when it is not.

    By the state that its card really stands in, and no state that stands in for another. What Orch itself shows keeps
    nobody from healing: that an item is held, and what it waits for, the store says better. A card whose state cannot be
    told is left alone. No call while `ORCH_RECONCILE_SKIP_BLOCKED_ENABLED` is off.
    """
    if not root.settings.reconcile_skip_blocked_enabled:
        return None
    why = await _why(root, item)
    if why is not None:
        await root.store.awrite(counters.count, counters.LEFT_ALONE)
    return why


async def _why(root: Services, item: WorkItem) -> str | None:
    try:
        async with asyncio.timeout(ASK_S):
            status = await _status(root, item)
    except (OrchError, TimeoutError, KeyError) as error:
        return f"the state of its card cannot be told: {error!r}"
    if status in LEFT_ALONE and status is not item.shown:
        return f"its card stands in {status}"
    return None


async def _status(root: Services, item: WorkItem) -> Status | None:
    project = root.project(item.project)
    state_id = await root.store.aread(_seen_lately, root, item)
    if state_id is None:
        state_id = (await root.tracker.item(project, item.tracker_id)).state_id
    return (await root.states.of(project, having=state_id)).status(state_id)


def _seen_lately(session: Session, root: Services, item: WorkItem) -> str | None:
    """The card's state as of the last look through its board, where that is not long ago."""
    place = sightings.board(item.project)
    looked = heartbeats.last(session, place)
    if not root.settings.reconcile_plane_enabled or looked is None or root.now() - looked > FRESH:
        return None
    seen = sightings.last(session, place, [item.tracker_id]).get(item.tracker_id)
    return seen.state if seen is not None else None
