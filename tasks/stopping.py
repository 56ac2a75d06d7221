"""The steps of STOP: processes first, then Prefect's runs, then the item, then its worktree."""

import asyncio
import os
import secrets

from prefect import runtime, task
from sqlmodel import Session

from pipeline.clients.process import identity, kill_group
from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import evidence, items, journal, leases, outbox, reactions
from tasks import prefect_api, reverting
from tasks.ownership import end_process
from tasks.services import Services
from tasks.steps import STEP, subject

GRACE_S = 3
LANDED = "{key} has landed already, so it cannot be stopped any more; it goes on to done."

LANDING_S = 60
"""How long STOP waits in its run for a landing; after that the tick comes back to it."""


async def landing_is_over(root: Services, item: WorkItem) -> bool:
    """Whether no living run of the item is between the beginning and the end of its landing."""
    for _ in range(LANDING_S):
        if not await root.store.aread(_is_landing, item, root):
            return True
        await asyncio.sleep(1)
    return False


def _is_landing(session: Session, item: WorkItem, root: Services) -> bool:
    owner = leases.owner(session, item.id)
    if owner is None or not leases.lives(owner, root.now(), root.alive):
        return False
    return any(effect.open for effect in journal.of_item(session, item.id))


@task(name="end the agents", **STEP)
async def end_agents(key: str) -> int:
    """TERM, then KILL, for every process group of the item's agents; how many runs were ended."""
    root, item, _project = await subject(key)
    running = await root.store.aread(evidence.unfinished_agent_runs, item.id)
    for run in running:
        if run.process is not None:
            await asyncio.to_thread(kill_group, run.process, grace_s=GRACE_S)
        await root.store.awrite(evidence.agent_interrupted, run.id, "Stopped.", root.now())
    return len(running)


@task(name="end the runs", **STEP)
async def end_runs(key: str) -> int:
    """Cancel the item's runs in Prefect and end the process of the one that owns it; how many there were.

    Prefect's cancelling kills no suspended run's process (measured), so the owner's is ended here.
    """
    root, item, _project = await subject(key)
    runs = [run for run in await prefect_api.active_stage_runs() if run.parameters.get("work_item") == key]
    for run in runs:
        await prefect_api.cancel(str(run.id), f"{key} was stopped.")
    owner = await root.store.aread(leases.owner, item.id)
    if owner is not None:
        end_process(root, owner.process)
    return len(runs)


async def cancel_item(root: Services, item: WorkItem) -> bool:
    """Take the item over and cancel it; False when it has ended meanwhile, or has landed after all."""
    landed = await _has_landed(root, item)
    return await root.store.awrite(_cancel, root, item, landed, secrets.token_hex(8))


async def _has_landed(root: Services, item: WorkItem) -> bool:
    """Whether the item's change is on the default branch, as the repository itself tells, when a landing was begun."""
    begun = await root.store.aread(journal.of_item, item.id)
    if await reverting.was_reverted(root, item):
        return False  # taken back on the default branch: the item may end
    if item.landed is not None or not begun or item.validated is None:
        return item.landed is not None
    workspace = root.workspace(root.project(item.project))
    tip = await asyncio.to_thread(workspace.fetch)
    return await asyncio.to_thread(workspace.is_ancestor, item.validated, tip)


def _cancel(session: Session, root: Services, stopped: WorkItem, landed: bool, token: str) -> bool:
    now, key = root.now(), stopped.key
    item = items.find(session, key)
    if item is None or item.id != stopped.id or item.stage.terminal or item.cancel_requested_at is None:
        return False
    if landed:
        items.update(session, item, None, now, cancel_requested_at=None)
        reactions.tell(session, key, root.texts("ignored", why=LANDED.format(key=key)), f"landed:{item.id}", now)
        outbox.wake(session, key, now)
        return False
    run_id = str(runtime.flow_run.id or "")
    lease = leases.claim(
        session, item.id, flow_run_id=run_id, stage=item.stage, token=token, process=identity(os.getpid()), now=now,
        ttl=root.settings.lease_ttl_s, alive=lambda process: False if root.alive(process) is not None else None,
    )  # fmt: skip
    if isinstance(lease, leases.Owner):
        return False
    moved = items.move(
        session,
        item,
        Stage.CANCELLED,
        actor="orch",
        reason="stopped by a person",
        run=run_id,
        token=lease.token,
        now=now,
    )
    leases.release(session, item.id, lease.token)
    html = root.texts("cancelled", key=key, title=item.title, stage=item.stage)
    reactions.say(session, key, html, f"cancelled:{item.id}", now)
    reactions.tell(session, key, html, f"cancelled:{item.id}", now)
    outbox.status(session, moved.key, now)
    return True


async def remove_worktree(root: Services, item: WorkItem) -> None:
    """Remove the item's worktree and local branch. Idempotent."""
    workspace = root.workspace(root.project(item.project))
    await asyncio.to_thread(workspace.remove, item.key)
