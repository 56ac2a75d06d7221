"""The steps of STOP: processes first, then Prefect's runs, then what the item left outside (`tasks.leftovers`), and the
item at the end.

Cancelling comes last, so that a stop that dies is begun again, and nobody starts the item afresh on a branch that is
about to go.
"""

import asyncio
import logging
import os
import secrets
import socket
from pathlib import Path

from prefect import runtime, task
from sqlmodel import Session

from pipeline.clients.agent_stream import usage_so_far
from pipeline.clients.process_identity import identity, kill_group
from pipeline.model import WorkItem
from pipeline.signals import Signal
from pipeline.stages import STREAM, Stage
from pipeline.store import evidence, inbox, items, journal, leases, outbox, reactions
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from tasks import prefect_api, reverting
from tasks.ownership import NotNow, end_process
from tasks.services import Services
from tasks.steps import STEP, alone

log = logging.getLogger("orch.stopping")

GRACE_S = 3

# --- what it waits for


async def kept_from_stopping(root: Services, item: WorkItem) -> NotNow | None:
    """Why the item cannot be stopped now: it has landed and goes on, or what cannot be undone is under way. Says so.

    Looks once, for the tick comes back. Ends nothing: the run of an item that goes on is left to it. What is under way
    is read first: what has ended by then is seen to have landed, and nothing is begun of an item that is being stopped.
    Raises `LeaseLost` while another run of STOP holds a landed item.
    """
    under_way = await root.store.aread(_under_way, item, root)
    if not _takes_back(under_way) and await _has_landed(root, item):
        said = await root.store.awrite(_let_go_on, root, item)
        if said is not None:
            return NotNow("Not stopped", said)
    if under_way is None:
        return None
    await root.store.awrite(_say_it_waits, item, under_way[0], root)
    return NotNow("Waiting for the landing", f"{item.key} has begun to {under_way[0].name}; it is stopped after that.")


def _under_way(session: Session, item: WorkItem, root: Services) -> list[Effect] | None:
    """What a living run of the item has begun and not ended of what cannot be undone; None when there is nothing."""
    owner = leases.owner(session, item.id)
    if owner is None or not leases.lives(owner, root.now(), root.alive):
        return None
    return begun(session, item) or None


def begun(session: Session, item: WorkItem) -> list[Effect]:
    """What of the item cannot be undone and has been begun, not ended: STOP waits for it."""
    effects = journal.of_item(session, item.id)
    return [effect for effect in effects if effect.open and effect.name != journal.REMOVE_BRANCH]


def _takes_back(under_way: list[Effect] | None) -> bool:
    """Whether the landing is being reverted: after that the item may end."""
    return any(effect.name == reverting.REVERT for effect in under_way or ())


def _say_it_waits(session: Session, item: WorkItem, effect: Effect, root: Services) -> None:
    why = f"{effect.name}, since {effect.started_at:%H:%M:%S} UTC"
    html = root.texts("stop_waits", key=item.key, why=why)
    reactions.tell(session, item.key, html, f"stop-waits:{item.id}:{item.version}", root.now())


def stopped_elsewhere(session: Session, item: WorkItem, root: Services) -> bool:
    """Whether another run of STOP, alive, is at this item already."""
    owner = leases.owner(session, item.id)
    return owner is not None and owner.stage is Stage.CANCELLED and leases.lives(owner, root.now(), root.alive)


# --- processes and runs


@task(name="end the agents", **STEP)
async def end_agents(key: str) -> int:
    """TERM, then KILL, for every process group of the item's agents; how many runs were ended.

    An agent on another host dies with its run, which that host's own worker ends.
    """
    root, item = await alone(key)
    running = await root.store.aread(evidence.unfinished_agent_runs, item.id)
    for run in running:
        if run.process is not None and run.process.host == socket.gethostname():
            await asyncio.to_thread(kill_group, run.process, grace_s=GRACE_S)
        used = await asyncio.to_thread(usage_so_far, Path(run.log))
        await root.store.awrite(evidence.agent_interrupted, run.id, "Stopped.", used, root.now())
    return len(running)


@task(name="end the runs", **STEP)
async def end_runs(key: str) -> int:
    """Cancel the item's runs in Prefect and end the process of the one that owns it; how many there were.

    Prefect's cancelling kills no suspended run's process (measured), so the owner's is ended here; on another host
    its worker does that.
    """
    root, item = await alone(key)
    owner = await root.store.aread(leases.owner, item.id)
    away = owner.flow_run_id if owner is not None and owner.process.host != socket.gethostname() else None
    runs = [run for run in await prefect_api.active_stage_runs() if run.parameters.get("work_item") == key]
    for run in runs:
        end = prefect_api.ask_to_cancel if str(run.id) == away else prefect_api.cancel
        await end(str(run.id), f"{key} was stopped.")
    if owner is not None and away is None and owner.stage is not Stage.CANCELLED:
        end_process(root, owner.process)
    return len(runs)


# --- taking over


async def take_over(root: Services, item: WorkItem) -> Lease | str:
    """Make the item this run's, so that it can be cleaned up and cancelled; else why not.

    A landed item is not stopped: it is on the default branch and goes on to done. One that is held after its landing
    would stay there for ever, so it may be given up. Raises `LeaseLost` while another run of STOP holds a landed item.
    """
    landed = await _has_landed(root, item)
    return await root.store.awrite(_take_over, root, item, landed, secrets.token_hex(8))


async def _has_landed(root: Services, item: WorkItem) -> bool:
    """Whether the item's change is on the default branch, as the repository itself tells, when a landing was begun."""
    project = root.projects.get(item.project)
    if project is None:
        return item.landed is not None
    begun = await root.store.aread(journal.of_item, item.id)
    if await reverting.was_reverted(root, item):
        return False  # taken back on the default branch: the item may end
    if item.landed is not None or not begun or item.validated is None:
        return item.landed is not None
    workspace = root.workspace(project)
    tip = await asyncio.to_thread(workspace.fetch)
    return await asyncio.to_thread(workspace.is_ancestor, item.validated, tip)


def _take_over(session: Session, root: Services, stopped: WorkItem, landed: bool, token: str) -> Lease | str:
    now, key = root.now(), stopped.key
    item = _still_asked_for(session, stopped)
    if item is None:
        return f"Nobody asks for {key} to be stopped any more."
    owner = leases.owner(session, item.id)
    if landed and (said := _let_go_on(session, root, item)) is not None:
        leases.drop(session, item.id)  # its owner was ended by this stop, which healing would take for a person's doing
        return said
    another_stop = owner is not None and owner.stage is Stage.CANCELLED
    lease = leases.claim(
        session, item.id, flow_run_id=_run_id(), stage=Stage.CANCELLED, token=token, process=identity(os.getpid()),
        now=now, ttl=root.settings.lease_ttl_s,
        alive=root.alive if another_stop else lambda process: False if root.alive(process) is not None else None,
    )  # fmt: skip
    return lease if isinstance(lease, Lease) else f"Run {lease.flow_run_id} on {lease.process.host} still has {key}."


def _still_asked_for(session: Session, stopped: WorkItem) -> WorkItem | None:
    item = items.find(session, stopped.key)
    if item is None or item.id != stopped.id or item.stage.terminal or item.cancel_requested_at is None:
        return None
    return item


def _let_go_on(session: Session, root: Services, stopped: WorkItem) -> str | None:
    """Lift the stop of a landed item, whoever works on it, and say what becomes of it; None when it can be given up."""
    item, now = _still_asked_for(session, stopped), root.now()
    if item is None:
        return None
    unended = begun(session, item)
    if item.hold is not None and not unended:
        return None
    said = _goes_on(item, unended)
    owner = leases.owner(session, item.id)
    token = owner.token if owner is not None and owner.stage is not Stage.CANCELLED else None
    if owner is not None and token is None and not leases.lives(owner, now, root.alive):
        leases.drop(session, item.id)  # of a run of STOP that died: nobody looks after it once the stop is lifted
    items.update(session, item, token, now, cancel_requested_at=None)
    once = f"landed:{item.id}:{item.cancel_requested_at}"
    reactions.tell(session, item.key, root.texts("ignored", why=said), once, now)
    outbox.wake(session, item.key, now)
    return said


def _goes_on(item: WorkItem, begun: list[Effect]) -> str:
    if not begun:
        return f"{item.key} has landed already, so it cannot be stopped any more; it goes on to done."
    names = ", ".join(effect.name for effect in begun)
    then = f"it stays held until `orch retry {item.key}` sees that through" if item.hold else "it goes on with that"
    return (
        f"{item.key} has landed already and has not ended what it has begun ({names}), so it cannot be stopped; {then}."
    )


def _run_id() -> str:
    return str(runtime.flow_run.id or "")


# --- the end


async def cancel_item(root: Services, item: WorkItem, lease: Lease, left: list[str]) -> None:
    """Cancel the item and free its keys; `left` is said to people. Raises `StaleWrite` or `LeaseLost`."""
    await root.store.awrite(_cancel, root, item, lease, left)


def _cancel(session: Session, root: Services, stopped: WorkItem, lease: Lease, left: list[str]) -> None:
    now, key = root.now(), stopped.key
    item = items.snapshot(items.lock(session, stopped.id))
    items.move(
        session,
        item,
        Stage.CANCELLED,
        actor="orch",
        reason=" ".join(["stopped by a person.", *left]),
        run=_run_id(),
        token=lease.token,
        now=now,
    )
    for effect in journal.of_item(session, item.id):
        if effect.open:  # its run is dead, and what it was to bring about has been looked for
            journal.finish(session, effect, "the item was stopped", now)
    html = root.texts("cancelled", key=key, title=item.title, stage=item.stage)
    reactions.say(session, key, html, f"cancelled:{item.id}", now)
    reactions.tell(session, key, html, f"cancelled:{item.id}", now, voice=STREAM)
    if left:
        html = root.texts("stop_left", key=key, why=" ".join(left))
        reactions.tell(session, key, html, f"stop-left:{item.id}", now, voice=STREAM)
    outbox.status(session, key, now)
    if any(stored.signal is Signal.START_REQUESTED for stored in inbox.unconsumed(session, key)):
        outbox.event(session, Signal.START_REQUESTED.event, key, now)


async def give_back(root: Services, item: WorkItem, lease: Lease) -> None:
    """Let another run of STOP go on where this one could not. Idempotent."""
    await root.store.awrite(leases.release, item.id, lease.token)
