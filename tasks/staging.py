"""What staging needs once a commit is validated: its coverage measured, and the stand running exactly it."""

import asyncio

from prefect import task
from sqlmodel import Session

from pipeline.errors import CouldNotRun
from pipeline.model import Health, Hook, HookEnd, HookRun, Stand, WorkItem
from pipeline.store import journal, stands
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from tasks import progress
from tasks.branch import log_file
from tasks.services import Services
from tasks.stands import ItemStands
from tasks.steps import CHECK, STEP, subject

STAGE = "stage"


@task(name="measure the coverage", **CHECK)
async def measure_coverage(key: str, commit: str) -> float | None:
    """Coverage of exactly `commit` in percent: the recorded one or one measured now; None when nobody can tell."""
    root, item, project = await subject(key)
    if not project.coverage_command:
        return None
    known = await root.store.aread(stands.coverage_of, item.id, commit)
    if known is None or known.percent is None:
        log = log_file(root, item, f"coverage-{commit[:12]}")
        async with progress.shown(f"The coverage of {item.key}", project.test_timeout_s):
            known = await asyncio.to_thread(lambda: root.workspace(project).run_coverage(commit, log=log))
        await root.store.awrite(stands.coverage_measured, item.id, known, root.now())
    return known.percent


@task(name="deploy to staging", **CHECK)
async def deploy_to_staging(key: str, lease: Lease, commit: str) -> HookRun | None:
    """Have staging run `commit`; None when it does already, or the project has no staging.

    A stale stand is built anew, which spends no attempt. Raises `CouldNotRun` when the hook could not run: whatever it
    has left there, nothing is under way any more.
    """
    root, item, project = await subject(key)
    if not project.staging_deploy:
        return None
    there = ItemStands(root, item, project)
    if root.settings.looks_at_freshness(project.repository):
        seen = await there.probe(Stand.STAGING, commit)
        if seen.health is Health.HEALTHY and seen.revision == commit:
            await _end(root, item, f"staging was found to run {commit}", only=commit)
            return None
    effect, _first = await root.store.awrite(
        journal.start, item, STAGE, lease, subject=commit, now=root.now(), artifact=project.artifact_of(commit)
    )
    ran = await there.run(Hook.STAGE, commit)
    if ran.end is HookEnd.COULD_NOT_RUN:
        await root.store.awrite(journal.abandon, effect)
        raise CouldNotRun(f"The staging deploy of {commit[:12]} could not run: {ran.sentence} Its log is {ran.log}.")
    await root.store.awrite(journal.finish, effect, f"{ran.end}: {ran.sentence}", root.now())
    return ran


@task(name="end what staging is not brought to", **STEP)
async def end_overtaken(key: str, *, but: str | None = None) -> None:
    """End every deploy to staging that a dead run has left open, except that of `but`. Idempotent.

    A hook dies with the run that started it, so none of them is under way; only the run that owns the item may ask.
    """
    root, item, _project = await subject(key)
    said = f"its run died; staging is brought to {but or 'nothing'} now"
    for commit in {_commit(effect) for effect in await root.store.aread(_open, item)} - {but}:
        await _end(root, item, said, only=commit)


async def _end(root: Services, item: WorkItem, outcome: str, *, only: str) -> None:
    for effect in await root.store.aread(_open, item):
        if _commit(effect) == only:
            await root.store.awrite(journal.finish, effect, outcome, root.now())


def _open(session: Session, item: WorkItem) -> list[Effect]:
    return [effect for effect in journal.of_item(session, item.id) if effect.name == STAGE and effect.open]


def _commit(effect: Effect) -> str:
    return effect.key.rpartition(":")[2]
