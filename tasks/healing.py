"""What an item needs so that it goes on: found from the store and Prefect's word, done at once, harmless when repeated."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType
from sqlmodel import Session

from pipeline import decide
from pipeline.errors import OrchError
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.store import freezes, inbox, items, leases, outbox, queue, reactions, waits
from tasks import entrance, people, prefect_api, reviews
from tasks.services import Services

log = logging.getLogger("orch.healing")

ENTERED_GRACE = timedelta(seconds=20)
"""How long an announced stage may take to get a run before it is started without an event."""

CANNOT_BE_RESUMED = timedelta(seconds=10)
"""How long a due resume may be refused before its run is given up and started anew."""

PENDING_GRACE = timedelta(seconds=60)
"""How long a run may be Pending or Running without owning its item before it is believed to be dead."""


async def drain(root: Services, key: str) -> list[str]:
    """Apply the item's unconsumed signals in order; what followed. Those that must wait are left."""
    followed: list[str] = []
    for stored in await root.store.aread(inbox.unconsumed, key):
        try:
            whole = await reviews.completed(root, stored)
            consequence = await root.store.awrite(reactions.apply, whole, root.now(), root.texts)
        except OrchError as error:
            log.info("%s: %s waits: %s", key, stored.signal, error)
            continue
        if consequence is not None:
            followed.append(f"{stored.signal}: {consequence}")
    return followed


async def heal(root: Services, key: str, active: Iterable[FlowRun]) -> str | None:
    """Start or resume what the item needs; one sentence, or None when it needs nothing."""
    found = await root.store.aread(_standing, key)
    if found is None:
        return None
    item, wait, owner = found
    if decide.held_because(item) is not None:
        return None
    runs = [run for run in active if run.parameters.get("work_item") == key]
    if owner is not None:
        if leases.lives(owner, root.now(), root.alive):
            return None
        return await _bury(root, item, owner)
    if wait is not None and wait.kind.human:
        return await _people(root, item, wait)
    return await _machine(root, item, wait, runs)


def _standing(session: Session, key: str) -> tuple[WorkItem, Wait | None, leases.Owner | None] | None:
    item = items.find(session, key)
    return (item, waits.open_wait(session, item.id), leases.owner(session, item.id)) if item else None


async def _bury(root: Services, item: WorkItem, owner: leases.Owner) -> str | None:
    """The owner is dead: tell Prefect, free the item, and go on when its pause is over.

    A run that a person cancelled in Prefect stays cancelled: the item is held.
    """
    run = (await prefect_api.states_of([owner.flow_run_id])).get(owner.flow_run_id)
    if run is not None and run.state_type in (StateType.CANCELLED, StateType.CANCELLING):
        await root.store.awrite(_cancelled_by_hand, item, owner, root)
        return "its run was cancelled in Prefect"
    if run is not None and run.state_type in (StateType.RUNNING, StateType.PENDING):
        await prefect_api.crashed(owner.flow_run_id, "Its process is gone.")
    await root.store.awrite(leases.release, item.id, owner.token)
    if item.not_before is not None and root.now() < item.not_before:
        return f"its run died; not before {item.not_before:%H:%M:%S}"
    return await _enter(item, "its run had died")


def _cancelled_by_hand(session: Session, item: WorkItem, owner: leases.Owner, root: Services) -> None:
    leases.release(session, item.id, owner.token)
    reactions.hold(session, item, Hold.BLOCKED, "Its run was cancelled in Prefect.", root.now(), root.texts)


async def _people(root: Services, item: WorkItem, wait: Wait) -> str | None:
    """A run that waits for a person: resumed when the decision is there, replaced when it cannot go on."""
    run_id = wait.flow_run_id or ""
    run = (await prefect_api.states_of([run_id])).get(run_id) if run_id else None
    if run is None or run.state_type in (StateType.COMPLETED, StateType.CRASHED, StateType.FAILED):
        return await _anew(root, item, "its waiting run is gone")
    if run.state_type in (StateType.CANCELLED, StateType.CANCELLING):
        await root.store.awrite(
            reactions.hold, item, Hold.BLOCKED, "Its run was cancelled in Prefect.", root.now(), root.texts
        )
        return "its waiting run was cancelled in Prefect"
    if run.state_type is not StateType.PAUSED:
        return await _stuck(root, item, run)
    if not await root.store.aread(people.already_decided, item, wait):
        return None
    return await _resume(root, item, wait)


async def _stuck(root: Services, item: WorkItem, run: FlowRun) -> str | None:
    """A resumed run that holds no lease: on its way, or dead if that takes too long."""
    since = run.state.timestamp if run.state else root.now()
    if run.state_type is StateType.SCHEDULED or root.now() - since < PENDING_GRACE:
        return None
    await prefect_api.crashed(str(run.id), "Its process is gone.")
    return await _anew(root, item, "its resumed run had died")


async def _resume(root: Services, item: WorkItem, wait: Wait) -> str | None:
    await root.store.awrite(waits.request_wake, item.id, root.now())
    answer = await prefect_api.resume(wait.flow_run_id or "")
    if isinstance(answer, prefect_api.Resumed):
        return "resumed: the decision is there"
    since = wait.wake_requested_at
    if answer.ended or (since is not None and root.now() - since > CANNOT_BE_RESUMED):
        await prefect_api.cancel(wait.flow_run_id or "", f"It could not be resumed: {answer.reason}")
        return await _anew(root, item, f"its run could not be resumed ({answer.reason})")
    return f"could not be resumed yet: {answer.reason}"


async def _machine(root: Services, item: WorkItem, wait: Wait | None, runs: list[FlowRun]) -> str | None:
    """No owner and no person to wait for: a run is due unless one is on its way or it is too early."""
    now = root.now()
    if item.not_before is not None and now < item.not_before:
        return None
    if wait is not None and not await _due(root, item, wait, now):
        return None
    if any(_on_its_way(run, now) for run in runs):
        return None
    if wait is None and not item.failures and now - item.entered_at < ENTERED_GRACE:
        return None
    return await _enter(item, f"looking again at {wait.kind}" if wait else "no run was on its way")


async def _due(root: Services, item: WorkItem, wait: Wait, now: datetime) -> bool:
    if wait.kind in (WaitKind.DEPENDENCY, WaitKind.SERIAL):
        return await entrance.opens(root, item, wait)
    if wait.kind is WaitKind.FREEZE:
        return await root.store.aread(freezes.in_the_way, item.project) is None
    if wait.kind is WaitKind.MERGE_TURN:
        tickets = await root.store.aread(queue.tickets, item.project)
        mine = next((ticket for ticket in tickets if ticket.item_id == item.id), None)
        if mine is not None and not mine.first:
            return False  # whoever is before it wakes it, or the tick does
        if mine is not None and mine.woken_at is not None:
            return True
    return wait.look_again_at is not None and now >= wait.look_again_at


def _on_its_way(run: FlowRun, now: datetime) -> bool:
    """Whether a run will get to the item by itself: scheduled, or begun a moment ago."""
    if run.state_type is StateType.SCHEDULED:
        return True
    since = run.state.timestamp if run.state else now
    return run.state_type in (StateType.PENDING, StateType.RUNNING) and now - since < PENDING_GRACE


async def _anew(root: Services, item: WorkItem, why: str) -> str:
    await root.store.awrite(waits.close, item.id, why, root.now())
    return await _enter(item, why)


async def _enter(item: WorkItem, why: str) -> str:
    """Start the stage without an event: events are hints, this is the net below them."""
    await prefect_api.start(
        item.stage.value,
        {"work_item": item.key},
        name=f"{item.key} · {item.stage}",
        tags=[f"item:{item.key}", f"project:{item.project}"],
    )
    return f"started {item.stage} again: {why}"


async def let_orphans_end(root: Services, active: Iterable[FlowRun]) -> int:
    """Resume suspended runs that nothing waits in any more, so that they see it and end; how many."""
    wanted = {wait.flow_run_id for wait in await root.store.aread(waits.open_waits)}
    orphans = [run for run in active if run.state_type is StateType.PAUSED and str(run.id) not in wanted]
    ended = 0
    for run in orphans:
        if run.state is not None and root.now() - run.state.timestamp < CANNOT_BE_RESUMED:
            continue
        if not isinstance(await prefect_api.resume(str(run.id)), prefect_api.Resumed):
            await prefect_api.cancel(str(run.id), "Nothing waits in this run any more.")
        ended += 1
    return ended


async def publish_again(root: Services) -> list[str]:
    """Announce unconsumed signals again when they are due; apply those that were announced in vain. Items touched."""
    touched: list[str] = []
    ages = root.settings.republish_s
    for stored in await root.store.aread(inbox.unconsumed):
        if inbox.overdue(stored, ages, root.now()):
            touched.append(stored.item_key)
            await drain(root, stored.item_key)
        elif stored.published == 0 or inbox.due_again(stored, ages, root.now()):
            await root.store.awrite(_announce, stored, root)
    return touched


def _announce(session: Session, stored: inbox.StoredSignal, root: Services) -> None:
    outbox.event(session, stored.signal.event, stored.item_key, root.now())
    inbox.published(session, stored.id, root.now())
