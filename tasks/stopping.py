"""The steps of STOP: processes first, then Prefect's runs, then what the item left outside, and the item at the end.

Cancelling comes last, so that a stop that dies is begun again, and nobody starts the item afresh on a branch that is
about to go.
"""

import asyncio
import logging
import os
import secrets
import socket

from prefect import runtime, task
from sqlmodel import Session

from pipeline.branches import PREFIX
from pipeline.clients.process import identity, kill_group
from pipeline.errors import CouldNotRun, Refused, Unavailable
from pipeline.model import WorkItem
from pipeline.ports import Workspace
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import evidence, inbox, items, journal, leases, outbox, reactions
from pipeline.store.leases import Lease
from tasks import prefect_api, reverting
from tasks.outbox import deliver
from tasks.ownership import end_process
from tasks.services import Services
from tasks.steps import STEP, alone

log = logging.getLogger("orch.stopping")

GRACE_S = 3
LANDED = "{key} has landed already, so it cannot be stopped any more; it goes on to done."

LANDING_S = 60
"""How long STOP waits in its run for a landing; after that the tick comes back to it."""


# --- what it waits for


async def landing_is_over(root: Services, item: WorkItem) -> bool:
    """Whether no living run of the item is between the beginning and the end of what cannot be undone.

    The first look that finds one says so on the card.
    """
    for _ in range(LANDING_S):
        under_way = await root.store.aread(_under_way, item, root)
        if under_way is None:
            return True
        await root.store.awrite(_say_it_waits, item, under_way, root)
        await deliver(root, item.key)
        await asyncio.sleep(1)
    return False


def _under_way(session: Session, item: WorkItem, root: Services) -> str | None:
    owner = leases.owner(session, item.id)
    if owner is None or not leases.lives(owner, root.now(), root.alive):
        return None
    effects = [
        effect for effect in journal.of_item(session, item.id) if effect.open and effect.name != journal.REMOVE_BRANCH
    ]
    return f"{effects[0].name}, since {effects[0].started_at:%H:%M:%S} UTC" if effects else None


def _say_it_waits(session: Session, item: WorkItem, under_way: str, root: Services) -> None:
    html = root.texts("stop_waits", key=item.key, why=under_way)
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
        await root.store.awrite(evidence.agent_interrupted, run.id, "Stopped.", root.now())
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
    would stay there for ever, so it may be given up.
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
    item = items.find(session, key)
    if item is None or item.id != stopped.id or item.stage.terminal or item.cancel_requested_at is None:
        return f"Nobody asks for {key} to be stopped any more."
    under_way = any(
        effect.open and effect.name != journal.REMOVE_BRANCH for effect in journal.of_item(session, item.id)
    )
    if landed and (item.hold is None or under_way):
        items.update(session, item, None, now, cancel_requested_at=None)
        reactions.tell(session, key, root.texts("ignored", why=LANDED.format(key=key)), f"landed:{item.id}", now)
        outbox.wake(session, key, now)
        return LANDED.format(key=key)
    owner = leases.owner(session, item.id)
    another_stop = owner is not None and owner.stage is Stage.CANCELLED
    lease = leases.claim(
        session, item.id, flow_run_id=_run_id(), stage=Stage.CANCELLED, token=token, process=identity(os.getpid()),
        now=now, ttl=root.settings.lease_ttl_s,
        alive=root.alive if another_stop else lambda process: False if root.alive(process) is not None else None,
    )  # fmt: skip
    return lease if isinstance(lease, Lease) else f"Run {lease.flow_run_id} on {lease.process.host} still has {key}."


def _run_id() -> str:
    return str(runtime.flow_run.id or "")


# --- what the item left outside


@task(name="clean up outside", **STEP)
async def clean_up(key: str, lease: Lease) -> list[str]:
    """Keep the artifacts, then remove worktree and branch; what was left and why. Idempotent.

    What is refused, or cannot be done, is left and said; only a forge that does not answer is worth another try, and
    raises `Unavailable`. Without its artifacts in the archive no branch goes.
    """
    root, item = await alone(key)
    project = root.projects.get(item.project)
    if project is None:
        return [f"Project {item.project} is not in the registry any more: worktree and branch {item.branch} stay."]
    left = [f"Its change has landed and stays on {project.default_branch}."] if item.landed else []
    try:
        await _archive(root, item, project)
        await asyncio.to_thread(root.workspace(project).remove, item.key)
        await _remove_branch(root, item, project, lease)
    except Unavailable:
        raise
    except (Refused, CouldNotRun) as error:
        left.append(str(error))
    return left


async def _archive(root: Services, item: WorkItem, project: Project) -> None:
    """Write the item's artifacts, unfinished ones included, below the folder of its logs."""
    workspace = root.workspace(project)
    await asyncio.to_thread(workspace.fetch)
    commit = await asyncio.to_thread(_last_commit, workspace, item)
    if commit is not None:
        folder = root.settings.runs_folder / item.key / f"archive-{item.id}"
        await asyncio.to_thread(workspace.export, commit, item.artifacts, folder)


def _last_commit(workspace: Workspace, item: WorkItem) -> str | None:
    """What the branch has come to: the worktree's last word, else the forge's; None when it never came to anything."""
    if item.key in workspace.worktrees():
        try:
            return workspace.commit_all(item.key, f"{item.key}: stopped")
        except CouldNotRun as error:
            log.warning("%s: its worktree cannot be read, what was pushed is kept: %s", item.key, error)
    return workspace.remote_tip(item.branch)


async def _remove_branch(root: Services, item: WorkItem, project: Project, lease: Lease) -> None:
    """Remove the task branch on the forge, which closes its pull request. Journalled; what is there is looked at first.

    Never the default branch, nor any that is not a task branch by its name.
    """
    if not item.branch.startswith(PREFIX) or item.branch == project.default_branch:
        raise Refused(f"{item.branch} is not the name of a task branch; remove it by hand.")
    tip = await root.forge.branch_tip(project, item.branch)
    effect, _first = await root.store.awrite(
        journal.start, item, journal.REMOVE_BRANCH, lease, subject=item.branch, now=root.now(), tip=tip
    )
    if not effect.open:
        return
    if tip is not None:
        await root.forge.delete_branch(project, item.branch)
    await root.store.awrite(journal.finish, effect, f"removed at {tip}" if tip else "there was none", root.now())


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
    reactions.tell(session, key, html, f"cancelled:{item.id}", now)
    if left:
        html = root.texts("stop_left", key=key, why=" ".join(left))
        reactions.tell(session, key, html, f"stop-left:{item.id}", now)
    outbox.status(session, key, now)
    if any(stored.signal is Signal.START_REQUESTED for stored in inbox.unconsumed(session, key)):
        outbox.event(session, Signal.START_REQUESTED.event, key, now)


async def give_back(root: Services, item: WorkItem, lease: Lease) -> None:
    """Let another run of STOP go on where this one could not. Idempotent."""
    await root.store.awrite(leases.release, item.id, lease.token)
