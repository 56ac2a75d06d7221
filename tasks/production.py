"""Production: the landed commit is deployed once, watched, and rolled back at most once."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from prefect import task
from sqlmodel import Session

from pipeline.errors import CouldNotRun, Refused, Unavailable
from pipeline.model import Health, Hook, HookEnd, HookRun, Probed, Stand, WorkItem
from pipeline.monitoring import Watched, judge
from pipeline.projects import Project
from pipeline.store import items, journal, outbox, queue, stands
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from tasks import detached
from tasks.landing import MergeLock
from tasks.services import Services
from tasks.stands import ItemStands
from tasks.steps import CHECK, STEP, subject

DEPLOY = journal.DEPLOY
ROLLBACK = "rollback"
LATE_S = 60.0
"""How late a look at production may start: two ticks, should its own scheduled run be lost."""


@task(name="begin the deploy", **STEP)
async def begin(key: str, lease: Lease, lock: MergeLock) -> Probed | None:
    """Journal that the landed commit is about to be deployed, under the merge lock, unless it has been.

    While that effect is open nothing else of the project lands. A deploy that failed has held the item, so that only a
    person's retry leads here again and begins it anew. What production serves now is what a rollback brings back.

    Nothing is begun where production runs a later commit that contains the landed one, since that would take a
    neighbour's change out of production: what it says then is the answer. Raises `Unavailable` where another deploy of the
    project has begun meanwhile, for the lock alone keeps no two apart.
    """
    root, item, project = await subject(key)
    if not project.deploy_hook or item.landed is None:
        return None
    if lock.project != project.key:
        raise CouldNotRun(f"{key} cannot be deployed: the merge lock is another project's.")
    before = await root.store.aread(_deploys, item)
    if (before and before[-1].open) or item.deployed == item.landed:
        return None
    seen = await ItemStands(root, item, project).probe(Stand.PRODUCTION, item.landed)
    previous = seen.revision if seen.revision != item.landed else None
    if previous is not None and await _contains(root, project, previous, item.landed):
        return seen
    details = {"commit": item.landed, "previous": previous, "artifact": project.artifact_of(item.landed)}
    subject_of = f"{item.landed}#{len(before) + 1}"
    await root.store.awrite(_begin, item, lease, subject_of, root.now(), details)
    return None


def _begin(
    session: Session, item: WorkItem, lease: Lease, subject_of: str, now: datetime, details: Mapping[str, Any]
) -> None:
    if (deploying := deploy_in_the_way(session, item)) is not None:
        raise Unavailable(deploying)
    journal.start(session, item, DEPLOY, lease, subject=subject_of, now=now, **details)


@task(name="deploy", **CHECK)
async def carry_out(key: str, lease: Lease) -> HookRun | None:
    """Bring the landed commit to production, or find that it is there; None while a detached hook is still at it.

    Observed before it is ever repeated. Raises `CouldNotRun` when the hook could not be started at all.
    """
    root, item, project = await subject(key)
    effect = await root.store.aread(open_deploy, item)
    if effect is None or item.landed is None:
        raise CouldNotRun(f"No deploy of {key} has been begun; run the stage again.")
    there = ItemStands(root, item, project)
    known = await there.hook(Hook.DEPLOY, item.landed, since=effect.started_at)
    if known is not None and (known.end is not HookEnd.COULD_NOT_RUN or known.duration_s >= project.hook_timeout_s):
        return known
    if project.self_hosting:
        ran = await detached.finalise_or_start(there, effect, lease)
        if ran is not None:
            await there.record(Hook.DEPLOY, item.landed, ran)
        return ran
    ran = await _observed(there, item.landed) or await there.run(Hook.DEPLOY, item.landed)
    if ran.end is HookEnd.COULD_NOT_RUN and ran.duration_s < project.hook_timeout_s:
        raise CouldNotRun(f"The deploy hook could not run: {ran.sentence} Its log is {ran.log}.")
    return ran  # one that took too long has done something to production: it is judged


async def _observed(there: ItemStands, commit: str) -> HookRun | None:
    """A deploy that an earlier run carried through before it died."""
    seen = await there.probe(Stand.PRODUCTION, commit)
    if seen.health is not Health.HEALTHY or seen.revision != commit:
        return None
    log = there.folder / "observed.log"
    ran = HookRun(HookEnd.DONE, None, f"Production serves {commit[:12]} already.", 0, "", log)
    await there.record(Hook.DEPLOY, commit, ran)
    return ran


def _deploys(session: Session, item: WorkItem) -> list[Effect]:
    return [
        effect
        for effect in journal.of_item(session, item.id)
        if effect.name == DEPLOY and effect.details.get("commit") == item.landed
    ]


def open_deploy(session: Session, item: WorkItem) -> Effect | None:
    """The item's deploy that was begun and has not ended."""
    return next((effect for effect in _deploys(session, item) if effect.open), None)


def deploy_in_the_way(session: Session, item: WorkItem) -> str | None:
    """Why nothing of the item's project may land now: another item's deploy is under way."""
    others = [e for e in journal.open_effects(session, item.project) if e.name == DEPLOY and e.item_id != item.id]
    if not others:
        return None
    return f"A deploy of {others[0].details.get('commit', '')[:12]} is under way; nothing lands before it has ended."


@task(name="note the verified deploy", **STEP)
async def settle(key: str, lease: Lease, watched_until: datetime) -> None:
    """End the deploy's effect and remember that the landed commit serves production, in one transaction. Idempotent."""
    root, item, _project = await subject(key)
    await root.store.awrite(_settle, item, lease, watched_until, root)


def _settle(session: Session, item: WorkItem, lease: Lease, watched_until: datetime, root: Services) -> None:
    items.update(session, item, lease.token, root.now(), deployed=item.landed, monitor_until=watched_until)
    effect = open_deploy(session, item)
    if effect is not None:
        journal.finish(session, effect, f"{HookEnd.DONE}: production runs {item.landed}", root.now())
        queue.wake_head(session, item.project, root.now())
    outbox.status(session, item.key, root.now())


def end_failed(session: Session, item: WorkItem, why: str, now: datetime) -> None:
    """End the item's open deploy as failed, and forget that production runs it; whoever calls this holds the item.

    So is a rollback that nobody has seen the end of: a person looks at production now.
    """
    if (rollback := _open_rollback(session, item)) is not None:
        journal.finish(session, rollback, f"nobody saw how it ended: {why}", now)
    effect = open_deploy(session, item)
    if effect is not None:
        journal.finish(session, effect, f"failed: {why}", now)
        queue.wake_head(session, item.project, now)
    row = items.lock(session, item.id)
    row.deployed = row.monitor_until = None
    session.add(row)


@task(name="raise the coverage baseline", **STEP)
async def ratchet(key: str, lease: Lease) -> None:
    """Raise the project's coverage baseline to what has landed, once."""
    root, item, project = await subject(key)
    if item.landed is None or not project.coverage_command:
        return
    run = await root.store.aread(stands.coverage_of, item.id, item.landed)
    if run is not None and run.percent is not None:
        await root.store.awrite(_ratchet, item, lease, item.landed, run.percent, root)


def _ratchet(session: Session, item: WorkItem, lease: Lease, commit: str, percent: float, root: Services) -> None:
    effect, _first = journal.start(session, item, "ratchet", lease, subject=commit, now=root.now(), percent=percent)
    if effect.open:
        raised = stands.ratchet(session, item.project, percent, commit, root.now())
        journal.finish(session, effect, "raised" if raised else "as high already", root.now())


@task(name="look at production", **STEP)
async def watch(key: str, *, over: bool) -> tuple[Watched, str]:
    """One look at production, recorded; what all looks of this window amount to, and what this one saw.

    A later commit of the project that contains this one is healthy for it, too: another item was deployed since.
    """
    root, item, project = await subject(key)
    if item.deployed is None or item.monitor_until is None:
        raise CouldNotRun(f"{key} is not watched: no deploy of it was verified.")
    there = ItemStands(root, item, project)
    seen = await there.probe(Stand.PRODUCTION, item.deployed)
    if await _somebody_elses(root, project, item.deployed, seen.revision):
        return Watched.DEGRADED, f"it runs {(seen.revision or '')[:12]}, which does not contain the change"
    looks = await root.store.aread(
        stands.probes, item.id, Stand.PRODUCTION, item.deployed, since=_window_began(item, project)
    )
    return judge(looks, failures=project.monitor_failures, over=over), seen.sentence


def _window_began(item: WorkItem, project: Project) -> datetime:
    assert item.monitor_until is not None  # noqa: S101  asked before
    return item.monitor_until - timedelta(seconds=project.monitor_window_s)


async def _somebody_elses(root: Services, project: Project, commit: str, revision: str | None) -> bool:
    return revision not in (None, commit) and not await _contains(root, project, str(revision), commit)


async def _contains(root: Services, project: Project, revision: str, commit: str) -> bool:
    """Whether `revision` is a commit of the repository that contains `commit`. The forge is asked for unknown ones only.

    Raises `Unavailable` when it would have to tell and is away: that says nothing about the revision.
    """
    told = await _as_the_mirror_tells(root, project, revision, commit)
    if told is None:
        await asyncio.to_thread(root.workspace(project).fetch)
        told = await _as_the_mirror_tells(root, project, revision, commit)
    return bool(told)


async def _as_the_mirror_tells(root: Services, project: Project, revision: str, commit: str) -> bool | None:
    """The same without the forge; None when the mirror lacks one of the two."""
    try:
        return await asyncio.to_thread(root.workspace(project).is_ancestor, commit, revision)
    except Refused:  # no full commit id
        return False
    except CouldNotRun:
        return None


def window_is_over(item: WorkItem, project: Project, now: datetime) -> bool:
    """Whether even a row of unhealthy looks that began within the window has had its time: nothing is undone then."""
    if item.deployed is None or item.monitor_until is None:
        return False
    return now > item.monitor_until + timedelta(seconds=longest_row_s(project))


def longest_row_s(project: Project) -> float:
    """How long after the window's end a row of unhealthy looks that began within it may still be watched."""
    return project.monitor_failures * (project.monitor_interval_s + project.probe_timeout_s) + LATE_S


@task(name="roll production back", **STEP)
async def roll_back(key: str, lease: Lease) -> str:
    """Bring back what served before the deploy, where that is wanted and known; one sentence about it.

    Once for a landed commit, never after the window, never for the self-hosting project, never over somebody else's
    revision.
    """
    root, item, project = await subject(key)
    commit = item.landed or ""
    begun = await root.store.aread(_open_rollback, item)
    kept = await _rolled_back_already(root, item, project, begun) or await _kept_from_rolling_back(root, item, project)
    if kept is not None:
        if begun is not None:
            await root.store.awrite(journal.finish, begun, kept, root.now())
        return kept
    previous = str((await root.store.aread(_deploys, item))[-1].details["previous"])
    effect, _first = await root.store.awrite(
        journal.start, item, ROLLBACK, lease, subject=commit, now=root.now(), previous=previous
    )
    if not effect.open:
        return f"It was rolled back before: {effect.outcome}"
    there = ItemStands(root, item, project)
    ran = await there.run(Hook.ROLLBACK, previous)
    seen = await there.probe(Stand.PRODUCTION, previous, within_s=project.verify_within_s)
    good = ran.end is HookEnd.DONE and seen.health is Health.HEALTHY and seen.revision == previous
    said = (
        f"Production was rolled back to {previous[:12]}."
        if good
        else f"The rollback to {previous[:12]} did not help: {ran.sentence} {seen.sentence}"
    )
    await root.store.awrite(journal.finish, effect, said, root.now())
    return said


def _open_rollback(session: Session, item: WorkItem) -> Effect | None:
    """The rollback of what has landed that a run began and did not live to end."""
    effects = journal.of_item(session, item.id)
    return next((e for e in effects if e.open and e.key == f"{ROLLBACK}:{item.id}:{item.landed}"), None)


async def _rolled_back_already(root: Services, item: WorkItem, project: Project, begun: Effect | None) -> str | None:
    """What became of a rollback that was begun, where production says that it went well; None when it is to be made."""
    if begun is None:
        return None
    previous = str(begun.details["previous"])
    seen = await ItemStands(root, item, project).probe(Stand.PRODUCTION, previous)
    there = seen.health is Health.HEALTHY and seen.revision == previous
    return f"Production was rolled back to {previous[:12]}." if there else None


async def _kept_from_rolling_back(root: Services, item: WorkItem, project: Project) -> str | None:
    """Why production is left as it is; None when it is to be rolled back."""
    if project.self_hosting:
        return "The self-hosting project is not rolled back from here: its detached hook does that."
    if not project.rollback_hook:
        return "No rollback hook is configured; production was left as it is."
    deploys = await root.store.aread(_deploys, item)
    if not deploys or not deploys[-1].details.get("previous"):
        return "Nobody knows what served before; production was left as it is."
    if window_is_over(item, project, root.now()):
        return "The window is over; production was left as it is."
    seen = await ItemStands(root, item, project).probe(Stand.PRODUCTION, item.landed or "")
    if seen.health is Health.INCONCLUSIVE:
        return f"Nobody can tell what serves production ({seen.sentence}); it was left as it is."
    if seen.revision is not None and seen.revision != item.landed:
        return f"Production runs {seen.revision[:12]} by now, which is not this change; it was left as it is."
    return None
