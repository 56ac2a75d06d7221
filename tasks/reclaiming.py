"""What the dead leave behind: leases, runs that Prefect believes to go on, and merge locks without a holder."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType
from sqlmodel import Session

from pipeline.decide import held_because
from pipeline.messages import Texts
from pipeline.store import counters, crashes, due, leases, outbox, suspicions
from pipeline.store.items import MERGING
from pipeline.store.leases import Alive, WentWithItsHost
from tasks import cancels, prefect_api
from tasks.healing import CANNOT_BE_RESUMED
from tasks.looks import PENDING_GRACE
from tasks.services import Services

log = logging.getLogger("orch.reclaiming")

ZOMBIE_AFTER = timedelta(minutes=3)
"""How long a run may go on in Prefect without owning its item before its slot is taken back. It may have given the item
up and be sending what follows; the item itself does not wait for this."""

NEVER_BEGUN_AFTER = timedelta(seconds=25)
"""The same for a run that is still Pending: its worker has died before it started a process. One that was only slow finds
itself told to have crashed, and the stage is started again."""

CONTROL_MAX = timedelta(minutes=10)
"""How long a run that works no stage and owns no item may go on: intake, wake and the tick take seconds."""

PENDING_MAX = timedelta(minutes=2)
"""How long it may take from the moment a worker has taken such a run until its process has begun."""

LEAKED_AFTER = timedelta(seconds=90)
"""How long a merge lock may be held by nobody: longer than its lease, which Prefect's server ends by itself."""


def reclaim_dead(session: Session, now: datetime, alive: Alive, went: WentWithItsHost, texts: Texts) -> list[str]:
    """Free every item whose owner is dead and have its stage started; their keys. For the start of Orch. Idempotent."""
    freed: list[str] = []
    for holder in leases.owners(session):
        item = None if leases.lives(holder, now, alive) else crashes.reclaim(session, holder, went, now, texts)
        if item is None:
            continue
        if held_because(item) is None:
            outbox.enter(session, item.key, item.stage, now)
        freed.append(item.key)
    return freed


async def end_zombies(root: Services, begun: Iterable[FlowRun]) -> int:
    """Tell Prefect of runs without a process, so that they give their slots back; how many. Believed at a second look."""
    now = root.now()
    owning = {holder.flow_run_id for holder in await root.store.aread(_living, now, root.alive)}
    suspects = [run for run in begun if _goes_on(run, now) and str(run.id) not in owning]
    dead: list[str] = []
    for state, after in ((StateType.PENDING, NEVER_BEGUN_AFTER), (StateType.RUNNING, ZOMBIE_AFTER)):
        subjects = {str(run.id) for run in suspects if run.state_type is state}
        dead += await root.store.awrite(suspicions.confirmed, f"{state.value} run", subjects, now, after=after)
    for run_id in dead:
        log.warning("run %s goes on in Prefect alone; it is told that the run has crashed", run_id)
        await prefect_api.crashed(run_id, "Its process is gone.")
    return len(dead)


def _living(session: Session, now: datetime, alive: Alive) -> list[leases.Owner]:
    return [holder for holder in leases.owners(session) if leases.lives(holder, now, alive)]


async def end_lost_control_runs(root: Services) -> int:
    """Tell Prefect of runs of intake, wake, stop and the tick that have gone on for too long; how many."""
    now = root.now()
    living = await root.store.aread(_living, now, root.alive)
    return await end_lost_runs((prefect_api.CONTROL_TAG,), living, now, after=CONTROL_MAX)


async def end_lost_runs(tags: Iterable[str], owners: Iterable[leases.Owner], now: datetime, *, after: timedelta) -> int:
    """Tell Prefect of runs with one of `tags` that have died with their worker: no `owners`, and begun `after` ago; how many.

    Prefect would count them for ever against the few that their pool lets run at once, the tick among them.
    """
    owning = {owner.flow_run_id for owner in owners}
    ended = 0
    for tag in tags:
        for run in await prefect_api.runs_at_work(tag):
            most = min(after, PENDING_MAX) if run.state_type is StateType.PENDING else after
            if run.state is None or str(run.id) in owning or now - run.state.timestamp < most:
                continue
            log.warning("run %s goes on in Prefect alone; it is told that the run has crashed", run.id)
            await prefect_api.crashed(str(run.id), "Its process is gone.")
            ended += 1
    return ended


def _goes_on(run: FlowRun, now: datetime) -> bool:
    since = run.state.timestamp if run.state else now
    return run.state_type in (StateType.PENDING, StateType.RUNNING) and now - since >= PENDING_GRACE


async def let_orphans_end(root: Services) -> int:
    """Resume suspended runs that nothing waits in any more, so that they see it and end; how many.

    One page of them at each tick, another at the next: all are seen in turn, also those of items that the store does
    not know.
    """
    ticks, asked = await root.store.aread(_turn)
    runs = await prefect_api.suspended_stage_runs(ticks % (asked // prefect_api.PAGE + 1))
    wanted = await root.store.aread(due.wanted, [str(run.id) for run in runs])
    ended = 0
    for run in runs:
        settled = run.state is None or root.now() - run.state.timestamp >= CANNOT_BE_RESUMED
        if str(run.id) in wanted or not settled:
            continue
        if prefect_api.suspended_by_a_person(run) and await root.store.awrite(cancels.stays_suspended, run, root):
            continue
        if not isinstance(await prefect_api.resume(str(run.id)), prefect_api.Resumed):
            await prefect_api.cancel(str(run.id), "Nothing waits in this run any more.")
        ended += 1
    return ended


def _turn(session: Session) -> tuple[int, int]:
    return counters.totals(session)[counters.TICKS], due.asked_of_people(session)


async def free_leaked_locks(root: Services) -> list[str]:
    """Free merge locks that are held while no living run could hold them, at two looks; the projects."""
    held = await prefect_api.held_limits()
    merging = await root.store.aread(_merging, root)
    suspects = {key for key, project in root.projects.items() if project.merge_limit in held and key not in merging}
    leaked = await root.store.awrite(suspicions.confirmed, "merge-lock", suspects, root.now(), after=LEAKED_AFTER)
    for key in leaked:
        log.warning("the merge lock of %s is held by nobody; it is freed", key)
        await prefect_api.free_limit(root.project(key).merge_limit)
        await root.store.awrite(counters.count, counters.FREED)
    return list(leaked)


def _merging(session: Session, root: Services) -> frozenset[str]:
    """Projects of which a living run may hold the merge lock."""
    now = root.now()
    return frozenset(
        found.item.project
        for found in due.owned(session)
        if found.owner and found.owner.stage in MERGING and leases.lives(found.owner, now, root.alive)
    )
