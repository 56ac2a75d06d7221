"""What an item needs so that it goes on: found from the store and Prefect's word, done at once, harmless when repeated."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType
from sqlmodel import Session

from pipeline import decide
from pipeline.model import Wait, WorkItem
from pipeline.store import counters, crashes, due, leases, outbox, waits
from pipeline.store.due import Standing
from tasks import cancels, looks, people, prefect_api
from tasks.looks import PENDING_GRACE, Observed, observe
from tasks.ownership import end_process
from tasks.services import Services

log = logging.getLogger("orch.healing")

CANNOT_BE_RESUMED = timedelta(seconds=10)
"""How long a due resume may be refused before its run is given up and started anew."""


CANCELLED, NONE_CAME = "its run was cancelled in Prefect", "no run was on its way"


async def heal(root: Services, key: str) -> str | None:
    """Start or resume what one item needs, now; one sentence, or None when it needs nothing."""
    found = await root.store.aread(due.standing, key)
    return await heal_one(root, found, await observe([found])) if found is not None else None


Guard = Callable[[WorkItem], Awaitable[str | None]]
"""Why an item is to be left alone although something is due; None when it is not."""


async def nothing_in_the_way(_item: WorkItem) -> None:
    """The guard of whoever was told to look at the item."""


async def heal_one(root: Services, found: Standing, seen: Observed, guard: Guard = nothing_in_the_way) -> str | None:
    """Start or resume what an item needs; one sentence, or None when it needs nothing or is left alone."""
    item, wait, owner = found.item, found.wait, found.owner
    if owner is not None and not is_over(root, item, owner):
        return None
    kept = await _kept(root, item)
    if owner is not None:
        return await _bury(root, item, owner, wait, seen, guard, kept)
    if kept is not None:
        return None
    if wait is not None and wait.kind.human:
        return await _people(root, item, wait, seen, guard)
    return await _machine(root, item, wait, seen, guard)


def is_over(root: Services, item: WorkItem, owner: leases.Owner) -> bool:
    """Whether the owner is dead, stuck or has overstayed and is to be buried; a stop is looked after by its own net."""
    if item.cancel_requested_at is not None:
        return False
    now = root.now()
    overstayed = now - owner.since > timedelta(seconds=root.settings.run_max_s)
    return overstayed or not leases.lives(owner, now, root.alive)


async def _kept(root: Services, item: WorkItem) -> str | None:
    """What keeps every stage of the item from being started; None when nothing does."""
    if decide.held_because(item) is not None:
        return "the item is held"
    broken = await root.store.aread(crashes.broken, item.project)
    return "its project is frozen" if broken is not None else None


async def _bury(
    root: Services,
    item: WorkItem,
    owner: leases.Owner,
    wait: Wait | None,
    seen: Observed,
    guard: Guard,
    kept: str | None,
) -> str | None:
    """The owner is dead, stuck or has overstayed: end it, tell Prefect, free the item, and go on after its pause.

    One on another host cannot be ended from here; without the lease its next write is refused, and it stops. A run that
    a person cancelled in Prefect stays cancelled: the item is held. Nothing is started of an item that is `kept`, and
    what it is held for stays.
    """
    run = seen.named.get(owner.flow_run_id)
    if cancels.cancelled(run) and decide.held_because(item) is None:
        await root.store.awrite(_hold_of_owner, item, owner, root)
        return CANCELLED
    end_process(root, owner.process)
    if run is not None and run.state_type in prefect_api.AT_WORK:
        await prefect_api.crashed(owner.flow_run_id, "Its process is gone.")
    freed = await root.store.awrite(crashes.reclaim, owner, root.went_with_its_host, root.now(), root.texts)
    if freed is None:
        return None
    item = freed
    if kept is not None:
        return f"its run died; {kept}"
    if item.not_before is not None and root.now() < item.not_before:
        return f"its run died; not before {item.not_before:%H:%M:%S}"
    if wait is None or not wait.kind.human:
        return await _enter(root, item, "its run had died", guard)
    if wait.flow_run_id == owner.flow_run_id and (run is None or run.state_type in prefect_api.AT_WORK):
        return await _anew(root, item, wait, "its run had died", guard)
    return await _people(root, item, wait, seen, guard)


def _hold_of_owner(session: Session, item: WorkItem, owner: leases.Owner, root: Services) -> None:
    leases.release(session, item.id, owner.token)
    cancels.hold(session, item, owner.flow_run_id, root)


async def _people(root: Services, item: WorkItem, wait: Wait, seen: Observed, guard: Guard) -> str | None:
    """A run that waits for a person: resumed when the decision is there, replaced when it cannot go on."""
    run = seen.named.get(wait.flow_run_id or "")
    if run is None or run.state_type in prefect_api.OVER:
        return await _anew(root, item, wait, "its waiting run is gone", guard)
    if cancels.cancelled(run):
        await root.store.awrite(cancels.hold, item, str(run.id), root)
        return "its waiting run was cancelled in Prefect"
    if run.state_type is not StateType.PAUSED:
        return await _stuck(root, item, wait, run, guard)
    if not await root.store.aread(people.already_decided, item, wait):
        return None
    return await _resume(root, item, wait, guard)


async def _stuck(root: Services, item: WorkItem, wait: Wait, run: FlowRun, guard: Guard) -> str | None:
    """A resumed run that holds no lease: on its way, or dead if that takes too long."""
    since = run.state.timestamp if run.state else root.now()
    if run.state_type is StateType.SCHEDULED or root.now() - since < PENDING_GRACE:
        return None
    await prefect_api.crashed(str(run.id), "Its process is gone.")
    return await _anew(root, item, wait, "its resumed run had died", guard)


async def _resume(root: Services, item: WorkItem, wait: Wait, guard: Guard) -> str | None:
    await root.store.awrite(waits.request_wake, item.id, root.now())
    answer = await prefect_api.resume(wait.flow_run_id or "")
    if isinstance(answer, prefect_api.Resumed):
        return "resumed: the decision is there"
    since = wait.wake_requested_at
    if not answer.ended and (since is None or root.now() - since <= CANNOT_BE_RESUMED):
        return f"could not be resumed yet: {answer.reason}"
    if await _goes_on(wait):
        return None  # somebody else has resumed it meanwhile
    why = f"its run could not be resumed ({answer.reason})"
    return await _anew(root, item, wait, why, guard, still_suspended=True)


async def _goes_on(wait: Wait) -> bool:
    """Whether the wait's run, which was suspended, is not any more."""
    runs = await prefect_api.states_of([wait.flow_run_id or ""])
    return any(run.state_type is not StateType.PAUSED for run in runs.values())


async def _machine(root: Services, item: WorkItem, wait: Wait | None, seen: Observed, guard: Guard) -> str | None:
    """No owner and no person to wait for: a run is due unless one is on its way or it is too early."""
    now = root.now()
    if item.not_before is not None and now < item.not_before:
        return None
    if wait is None:
        if item.failures == 0 and now - item.entered_at < root.settings.grace_of(item.stage):
            return None
        if looks.comes(item, seen, now) or await root.store.aread(outbox.enters, item.key, item.stage, now):
            return None
        return await _enter_due(root, item, item.entered_at, NONE_CAME, seen, guard)
    started = None
    if await looks.due(root, item, wait, seen, now):
        coming = looks.comes(item, seen, now)
        if coming and wait.kind.timed and not seen.crowded:
            return None  # put off, its look would not be due when the run that was scheduled for it comes
        if not coming:
            started = await _enter_due(root, item, wait.since, f"looking again at {wait.kind}", seen, guard)
    if started is None and wait.look_again_at is not None and wait.look_again_at <= now:
        # the others whose time has come are not to wait behind this one for ever
        await root.store.awrite(waits.look_later, wait.id, now, root.settings.ci_look_again_s)
    return started


async def _anew(
    root: Services, item: WorkItem, wait: Wait, why: str, guard: Guard, *, still_suspended: bool = False
) -> str | None:
    """The run that the item waited in cannot go on: its wait is closed, and another run asks again.

    What its form says is recorded first. It is cancelled only once nothing waits in it any more, or the next look would
    take that for a person's doing.
    """
    if await _left_alone(item, guard):
        return None
    await people.hear_form(root, item, wait)
    if not await root.store.awrite(_give_up, item, wait, why, root.now()):
        return None
    if still_suspended:
        await prefect_api.cancel(wait.flow_run_id or "", f"Another run asks again: {why}.")
    return await _start(root, item, why)


def _give_up(session: Session, item: WorkItem, wait: Wait, why: str, now: datetime) -> bool:
    """Close the wait; False when it is not what the item waits for any more."""
    current = waits.open_wait(session, item.id)
    if current is None or current.id != wait.id:
        return False
    waits.close(session, item.id, why, now)
    return True


async def _enter(root: Services, item: WorkItem, why: str, guard: Guard) -> str | None:
    return None if await _left_alone(item, guard) else await _start(root, item, why)


async def _enter_due(
    root: Services, item: WorkItem, since: datetime, why: str, seen: Observed, guard: Guard
) -> str | None:
    """Enter a stage that is due, unless a person has cancelled the run that was to do it."""
    if await cancels.heard(root, item, seen.cancels, since=since):
        return CANCELLED
    return await _enter(root, item, why, guard)


async def _left_alone(item: WorkItem, guard: Guard) -> bool:
    kept = await guard(item)
    if kept is not None:
        log.info("%s is left alone: %s", item.key, kept)
    return kept is not None


async def _start(root: Services, item: WorkItem, why: str) -> str:
    """Start the stage without an event: events are hints, this is the net below them."""
    wait = await root.store.aread(waits.open_wait, item.id)
    await prefect_api.start(
        item.stage.value,
        {"work_item": item.key},
        name=f"{item.key} · {item.stage}",
        tags=[f"item:{item.key}", f"project:{item.project}"],
        queue=looks.queue_of(wait),
    )
    await root.store.awrite(counters.count, counters.STARTED)
    return f"started {item.stage} again: {why}"
