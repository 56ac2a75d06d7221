"""The net below the events: every tick, what was told and not heard, what waits and could go on, and what has died."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed
from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.signals import Signal
from pipeline.store import counters, deliveries, due, heartbeats, inbox, leases, queue, reactions, waits
from pipeline.store.outbox import REPEATABLE
from tasks import prefect_api
from tasks.due_items import heal_due, stop_due
from tasks.forge_polling import poll_repository
from tasks.inbox import identify
from tasks.outbox import deliver
from tasks.pending import resolve_pending
from tasks.polling import each_project, poll_board
from tasks.reclaiming import free_leaked_locks
from tasks.republishing import publish_again
from tasks.services import Services, services
from tasks.set_asides import tell_what_is_set_aside
from tasks.starting import without_a_run
from tasks.subscriptions import see_to_webhooks

DEADLINE_S = 45
"""A tick that takes longer is killed: the next one is due, and a peer that hangs must not stop the healing."""

PART_S = 20
"""How long one part of a tick may take. The parts go side by side: even when all hang, the tick ends before its deadline."""

REMINDERS = 100
"""Overdue waits, and overdue stops, that a tick tells people of."""

STOPPED_WITHIN = timedelta(hours=1)
"""How long a stop may take before a person is told that it has not come to its end."""


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
        await root.store.awrite(counters.count, counters.TICKS)
        return Completed(message="; ".join(did) or "Nothing was due.")
    finally:
        watchdog.cancel()


async def tick(root: Services) -> list[str]:
    """Everything that is due now; a sentence for each thing that was done.

    The parts go side by side, so that one that waits for a slow neighbour takes nobody's turn: one after the other the
    same first ones could use up the time of every tick. It beats for each part that succeeds, and as a whole when none has
    failed by a fault of Orch's own.
    """
    tried = await asyncio.gather(*(_tried(root, part) for part in PARTS))
    sound = {_name(part): one.sound for part, one in zip(PARTS, tried, strict=True)}
    await root.store.awrite(_beat, sound, root.now())
    return [sentence for one in tried for sentence in one.did]


def _beat(session: Session, sound: Mapping[str, bool], now: datetime) -> None:
    for name, well in sound.items():
        if well:
            heartbeats.beat(session, f"{heartbeats.PART}{name}", now)
    if all(sound.values()):
        heartbeats.beat(session, heartbeats.TICK, now)


@dataclass(frozen=True, slots=True)
class Tried:
    """What a part did; not `sound` when it failed by a bug or for its own database, not for a neighbour that is away."""

    did: list[str]
    sound: bool = True


async def _tried(root: Services, part: Callable[[Services], Awaitable[list[str]]]) -> Tried:
    name = _name(part)
    try:
        async with asyncio.timeout(PART_S):
            return Tried(await part(root))
    except (OrchError, TimeoutError, httpx.HTTPError, PrefectHTTPStatusError) as error:
        why = str(error) or f"it took longer than {PART_S} s"
        logging.getLogger("orch.reconcile").warning("%s: %s", name, why)
        return Tried([f"{name} failed: {why}"])
    except Exception as error:  # one part's bug must not stop the others; it is said in the run's message
        logging.getLogger("orch.reconcile").exception("%s", name)
        return Tried([f"{name} failed: {error!r}"], sound=False)


def _name(part: Callable[..., object]) -> str:
    return part.__name__.strip("_")


async def _deliveries(root: Services) -> list[str]:
    if not await root.store.aread(deliveries.pending, limit=1):
        return []
    return [f"{key}: a delivery was understood" for key in await resolve_pending(root, await identify(root))]


async def _retention(root: Services) -> list[str]:
    """One batch of the inbox that is older than it has to be kept."""
    days = root.settings.inbox_retention_days
    if not days:
        return []
    gone = await root.store.awrite(deliveries.prune, root.now() - timedelta(days=days))
    return [f"{gone} old deliveries forgotten"] if gone else []


async def _signals(root: Services) -> list[str]:
    return await publish_again(root)


async def _polls(root: Services) -> list[str]:
    boards = each_project(root, poll_board) if root.settings.reconcile_plane_enabled else None
    found = await asyncio.gather(*filter(None, (boards, each_project(root, poll_repository))))
    return [sentence for did in found for sentence in did]


async def _locks(root: Services) -> list[str]:
    return [f"{project}: its merge lock was freed" for project in await free_leaked_locks(root)]


async def _starts(root: Services) -> list[str]:
    """Starts whose event was announced in vain get their intake run without one, after ever longer pauses."""
    waiting: dict[str, list[int]] = {}
    for stored in await root.store.aread(inbox.unconsumed):
        if stored.signal is Signal.START_REQUESTED and inbox.tried_again(stored, root.settings.republish_s, root.now()):
            waiting.setdefault(stored.item_key, []).append(stored.id)
    keys = await without_a_run(root, "intake", sorted(waiting))
    for key in keys:
        await prefect_api.start("intake", {"work_item": key})
        await root.store.awrite(_tried_now, waiting[key], root.now())
    return [f"{key}: intake started" for key in keys]


def _tried_now(session: Session, signals: list[int], now: datetime) -> None:
    for number in signals:
        inbox.published(session, number, now)


async def _queues(root: Services) -> list[str]:
    return [f"{key}: its merge turn" for key in await root.store.awrite(_wake_heads, root)]


def _wake_heads(session: Session, root: Services) -> list[str]:
    """The first of each merge queue is woken while nobody who queues is at work."""
    now = root.now()
    owners = {owner.item_id for owner in leases.owners(session) if leases.lives(owner, now, root.alive)}
    idle = [project for project in queue.projects(session) if not owners & queue.queued(session, project)]
    return [key for project in idle if (key := queue.wake_head(session, project, now)) is not None]


async def _overdue(root: Services) -> list[str]:
    return [f"{key}: a person was reminded" for key in await root.store.awrite(_remind, root)]


def _remind(session: Session, root: Services) -> list[str]:
    """Every wait, and every stop, has a deadline after which one message goes to a person."""
    now = root.now()
    reminded = _remind_of_stops(session, root, now)
    for wait, item in due.overdue(session, now, limit=REMINDERS):
        if not waits.reminded(session, wait.id, now):
            continue
        since = f"{wait.since:%Y-%m-%d %H:%M} UTC"
        html = root.texts("overdue", key=item.key, title=item.title, since=since, sentence=wait.sentence)
        reactions.say(session, item.key, html, f"overdue:{wait.id}", now)
        reminded.append(item.key)
    return reminded


def _remind_of_stops(session: Session, root: Services, now: datetime) -> list[str]:
    reminded: list[str] = []
    for item in due.stopping_since(session, now - STOPPED_WITHIN, limit=REMINDERS):
        asked = f"{item.cancel_requested_at:%Y-%m-%d %H:%M} UTC"
        html = root.texts("stop_overdue", key=item.key, title=item.title, since=asked)
        if reactions.say(session, item.key, html, f"stop-overdue:{item.id}:{item.cancel_requested_at}", now):
            reminded.append(item.key)
    return reminded


async def _letters(root: Services) -> list[str]:
    """What may be sent twice, for a part whose time is over is cut off: messages are left to the receiver and to runs."""
    went = await deliver(root, kinds=REPEATABLE)
    return [f"{went} letters sent"] if went else []


PARTS: tuple[Callable[[Services], Awaitable[list[str]]], ...] = (
    stop_due,
    heal_due,
    _queues,
    _signals,
    _starts,
    _overdue,
    tell_what_is_set_aside,
    _letters,
    _deliveries,
    _polls,
    see_to_webhooks,
    _locks,
    _retention,
)
"""What a tick does, side by side. Healing waits for no outside system but Prefect."""
