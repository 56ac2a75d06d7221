"""The net below the events: every tick, what was told and not heard, what waits and could go on, and what has died."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.signals import Signal
from pipeline.store import heartbeats, inbox, items, leases, queue, reactions, waits
from tasks import healing, prefect_api, stopping
from tasks.inbox import identify, resolve_pending
from tasks.outbox import deliver
from tasks.services import Services, services

DEADLINE_S = 45
"""A tick that takes longer is killed: the next one is due, and a peer that hangs must not stop the healing."""

PART_S = 20
"""How long one part of a tick may take; a neighbour that hangs does not keep the others from their turn."""

HEARTBEAT = "reconcile"


@flow(name="reconcile", flow_run_name="reconcile")
async def reconcile() -> State[None]:
    """One tick. One item's or one neighbour's failure never ends it."""
    watchdog = threading.Timer(DEADLINE_S, os._exit, args=(70,))
    watchdog.daemon = True
    watchdog.start()
    try:
        root = await services()
        if not root.settings.reconcile_enabled:
            return Completed(name="Off", message="ORCH_RECONCILE_ENABLED is off.")
        did = await tick(root)
        await root.store.awrite(heartbeats.beat, HEARTBEAT, root.now())
        return Completed(message="; ".join(did) or "Nothing was due.")
    finally:
        watchdog.cancel()


async def tick(root: Services) -> list[str]:
    """Everything that is due now; a sentence for each thing that was done."""
    did: list[str] = []
    for part in (_items, _queues, _signals, _starts, _overdue, _letters, _deliveries, _retention):
        did += await _tried(root, part)
    return did


async def _tried(root: Services, part: Callable[[Services], Awaitable[list[str]]]) -> list[str]:
    try:
        async with asyncio.timeout(PART_S):
            return await part(root)
    except (OrchError, TimeoutError) as error:
        logging.getLogger("orch.reconcile").warning("%s: %s", part.__name__.strip("_"), error)
        return [f"{part.__name__.strip('_')} failed: {error}"]
    except Exception as error:  # one part's bug must not stop the others; it is said in the run's message
        logging.getLogger("orch.reconcile").exception("%s", part.__name__)
        return [f"{part.__name__.strip('_')} failed: {error!r}"]


async def _deliveries(root: Services) -> list[str]:
    if not await root.store.aread(inbox.pending, limit=1):
        return []
    return [f"{key}: a delivery was understood" for key in await resolve_pending(root, await identify(root))]


async def _retention(root: Services) -> list[str]:
    """One batch of the inbox that is older than it has to be kept."""
    days = root.settings.inbox_retention_days
    if not days:
        return []
    gone = await root.store.awrite(inbox.prune, root.now() - timedelta(days=days))
    return [f"{gone} old deliveries forgotten"] if gone else []


async def _signals(root: Services) -> list[str]:
    return [f"{key}: a signal was applied" for key in await healing.publish_again(root)]


async def _items(root: Services) -> list[str]:
    active = await prefect_api.active_stage_runs()
    did: list[str] = []
    for item in await root.store.aread(items.live):
        try:
            if item.cancel_requested_at is not None:
                if await root.store.aread(stopping.stopped_elsewhere, item, root):
                    continue
                await prefect_api.start("stop", {"work_item": item.key})
                did.append(f"{item.key}: stop started")
            elif healed := await healing.heal(root, item.key, active):
                did.append(f"{item.key}: {healed}")
        except Exception as error:  # noqa: BLE001  one item's trouble is said, and the others are looked at
            get_run_logger().exception("%s could not be looked at", item.key)
            did.append(f"{item.key}: could not be looked at: {error!r}")
    ended = await healing.let_orphans_end(root, active)
    return [*did, *([f"{ended} suspended runs were let go"] if ended else [])]


async def _starts(root: Services) -> list[str]:
    """Starts whose event was announced in vain get their intake run without one."""
    ages = root.settings.republish_s
    keys = {
        stored.item_key
        for stored in await root.store.aread(inbox.unconsumed)
        if stored.signal is Signal.START_REQUESTED and inbox.overdue(stored, ages, root.now())
    }
    for key in sorted(keys):
        await prefect_api.start("intake", {"work_item": key})
    return [f"{key}: intake started" for key in sorted(keys)]


async def _queues(root: Services) -> list[str]:
    return [f"{key}: its merge turn" for key in await root.store.awrite(_wake_heads, root)]


def _wake_heads(session: Session, root: Services) -> list[str]:
    """The first of each merge queue is woken while nobody who queues is at work."""
    now = root.now()
    owners = {owner.item_id for owner in leases.owners(session) if leases.lives(owner, now, root.alive)}
    woken = []
    for project in queue.projects(session):
        if any(ticket.item_id in owners for ticket in queue.tickets(session, project)):
            continue
        if (key := queue.wake_head(session, project, now)) is not None:
            woken.append(key)
    return woken


async def _overdue(root: Services) -> list[str]:
    return [f"{key}: a person was reminded" for key in await root.store.awrite(_remind, root)]


def _remind(session: Session, root: Services) -> list[str]:
    """Every wait has a deadline after which one message goes to a person."""
    now, reminded = root.now(), []
    for wait in waits.open_waits(session):
        if wait.deadline is None or now < wait.deadline or not waits.reminded(session, wait.id, now):
            continue
        item = items.snapshot(items.lock(session, waits.item_of(session, wait)))
        since = f"{wait.since:%Y-%m-%d %H:%M} UTC"
        html = root.texts("overdue", key=item.key, title=item.title, since=since, sentence=wait.sentence)
        reactions.say(session, item.key, html, f"overdue:{wait.id}", now)
        reminded.append(item.key)
    return reminded


async def _letters(root: Services) -> list[str]:
    went = await deliver(root)
    return [f"{went} letters sent"] if went else []
