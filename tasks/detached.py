"""Deploying Orch by Orch: the hook runs detached, outlives this process, and is finalised by whatever Orch comes up."""

import asyncio
from datetime import timedelta
from pathlib import Path

from pipeline.clients.hooks import (
    DeployPlan,
    GuardEnd,
    GuardOutcome,
    detached_program,
    guard_outcome,
    hook_environment,
    start_detached,
)
from pipeline.errors import CouldNotRun
from pipeline.model import Health, HookEnd, HookRun, ProcessIdentity, Stand
from pipeline.projects import Project
from pipeline.store import drains, journal
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from tasks.stands import ItemStands

GRACE_S = 60.0
"""What the guard gets on top of the time that a rollback may take, before its silence counts as its end."""


async def finalise_or_start(there: ItemStands, effect: Effect, lease: Lease) -> HookRun | None:
    """How the detached deploy ended; None while it is under way, in which case it was started if it had not been.

    The guard owns the deadline and the rollback, and writes its outcome to a file. A guard that was killed is started
    again, whichever Orch finds it, until its deadline is long past: then production itself says how it ended. So it does
    of a guard on another host, of which nobody here can tell whether it lives.
    """
    outcome = await asyncio.to_thread(guard_outcome, _folder(there, effect))
    if outcome is not None:
        return await _ended(there, _as_run(outcome, _folder(there, effect)))
    guard = effect.details.get("guard")
    alive = there.root.alive(ProcessIdentity(**guard)) if guard is not None else False
    deadline = float(effect.details.get("deadline") or 0)
    over = bool(deadline) and there.root.now().timestamp() > deadline + rollback_s(there.project)
    if alive or (alive is None and not over):
        return None
    if over:
        return await _ended(there, await _what_is_seen(there, effect))
    await _start(there, effect, lease, deadline)
    return None


async def _start(there: ItemStands, effect: Effect, lease: Lease, deadline: float) -> None:
    """Drain, then start the guard; it is noted before anybody else can look, and a second one does nothing."""
    root = there.root
    ends = deadline or (root.now() + timedelta(seconds=root.settings.deploy_deadline_s)).timestamp()
    until = root.now() + timedelta(seconds=root.settings.deploy_deadline_s + rollback_s(there.project))
    await root.store.awrite(drains.begin, there.item.key, root.now(), until)
    await root.store.awrite(journal.note, there.item, effect, lease, root.now(), deadline=ends)
    try:
        identity = await asyncio.to_thread(_launch, there, effect, ends)
    except CouldNotRun:
        await root.store.awrite(drains.end, there.item.key, root.now())
        raise
    guard = {"host": identity.host, "boot": identity.boot, "pgid": identity.pgid, "started": identity.started}
    await root.store.awrite(journal.note, there.item, effect, lease, root.now(), guard=guard)


def _launch(there: ItemStands, effect: Effect, deadline: float) -> ProcessIdentity:
    folder = _folder(there, effect)
    program = detached_program(_plan(there, effect, deadline), folder=folder, home=there.folder)
    return start_detached(
        program, cwd=there.folder, environment=hook_environment(there.folder, {}), log=folder / "guard.log"
    )


def _plan(there: ItemStands, effect: Effect, deadline: float) -> DeployPlan:
    project, commit = there.project, str(effect.details["commit"])
    previous = effect.details.get("previous")
    return DeployPlan(
        hook=project.deploy_hook,
        rollback=project.rollback_hook,
        probe=project.health_probe,
        expected=commit,
        previous=previous,
        facts=there.facts(commit),
        rollback_facts=there.facts(previous or commit),
        cwd=there.folder,
        deadline=deadline,
        hook_timeout_s=project.hook_timeout_s,
        probe_timeout_s=project.probe_timeout_s,
        rollback_within_s=project.verify_within_s,
    )


def _folder(there: ItemStands, effect: Effect) -> Path:
    return there.root.settings.state_dir / "deploys" / effect.key.replace(":", "-").replace("#", "-")


def rollback_s(project: Project) -> float:
    """How long after its deadline the guard may still be at bringing the old version back."""
    return project.hook_timeout_s + project.verify_within_s + GRACE_S


def _as_run(outcome: GuardOutcome, folder: Path) -> HookRun:
    end = HookEnd.DONE if outcome.end is GuardEnd.DEPLOYED else HookEnd.REFUSED
    return HookRun(end, outcome.exit_code, f"{outcome.end}: {outcome.sentence}", 0, "", folder / "guard.log")


async def _what_is_seen(there: ItemStands, effect: Effect) -> HookRun:
    """The guard died without a word: production itself says how it ended."""
    commit = str(effect.details["commit"])
    seen = await there.probe(Stand.PRODUCTION, commit)
    good = seen.health is Health.HEALTHY and seen.revision == commit
    said = f"The detached hook ended without a word; production is {seen.health}: {seen.sentence}"
    log = _folder(there, effect) / "guard.log"
    return HookRun(HookEnd.DONE if good else HookEnd.REFUSED, None, said, 0, "", log)


async def _ended(there: ItemStands, run: HookRun) -> HookRun:
    await there.root.store.awrite(drains.end, there.item.key, there.root.now())
    return run
