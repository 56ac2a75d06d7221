"""Landing: the default branch moves to exactly the tested commit, once, or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prefect import task
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from sqlmodel import Session

from pipeline.errors import CouldNotRun, Refused, TurnedAway
from pipeline.model import Landed, MovedOn, Protected, WorkItem
from pipeline.projects import Project
from pipeline.store import items, journal, outbox, queue
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from pipeline.workspace import Workspace
from tasks.services import Services
from tasks.steps import STEP, subject
from tasks.turned_away import refusal

LAND = "land"


@dataclass(slots=True)
class MergeLock:
    """Proof that this run is the one that may change the project's default branch now.

    With `comes_back` the item stays first in the queue when the turn ends: nothing keeps it from landing next. One that
    is `kept_out` by another's deploy keeps its place, and is in nobody's way.
    """

    project: str
    comes_back: bool = False
    kept_out: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else merges; the run leaves and is woken at its turn."""

    sentence: str


@asynccontextmanager
async def merge_turn(root: Services, item: WorkItem, project: Project) -> AsyncIterator[MergeLock | Busy]:
    """The project's merge lock for the body, if it is the item's turn and nobody holds it.

        The ticket orders who comes next, Prefect's limit is the lock: leased, so that a dead holder frees it. Neither is
        the proof: landing moves the branch to exactly the tested commit or not at all. So a lease that cannot be renewed,
    because the server is made anew or away, does not end the body. The ticket is given back, and the next one woken, when
    the body ends in order; one that comes back or is kept out keeps it.
    """
    ticket = await root.store.awrite(queue.take, item, root.now())
    if not ticket.first:
        yield Busy(f"{ticket.ahead} ahead of {item.key} in the merge queue of {project.key}.")
        return
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(
                concurrency(
                    project.merge_limit,
                    occupy=1,
                    timeout_seconds=root.settings.merge_lock_timeout_s,
                    strict=True,
                    lease_duration=root.settings.merge_lock_lease_s,
                    raise_on_lease_renewal_failure=False,
                )
            )
        except AcquireConcurrencySlotTimeoutError:
            yield Busy(f"The merge lock of {project.key} is held by another run.")
            return
        lock = MergeLock(project.key)
        yield lock
    ends = queue.keep if lock.comes_back else queue.stay if lock.kept_out else queue.leave
    await root.store.awrite(ends, item, root.now())


@task(name="land", **STEP)
async def land(key: str, lease: Lease, lock: MergeLock) -> Landed | MovedOn | Protected:
    """Move the default branch to the item's validated commit. Nobody lands without holding the lock.

    Journalled before and after; a landing that was begun before is observed first. The forge's fast-forward-only merge
    where it has one, else an unforced push of that commit; verified afterwards. A person's own merge counts as the
    landing where it left the default branch with the very files that were validated; with others it is `MovedOn`.
    """
    root, item, project = await subject(key)
    if item.validated is None or item.validated_base is None or lock.project != project.key:
        raise CouldNotRun(f"{key} cannot land: no commit of it has been validated.")
    workspace = root.workspace(project)
    tip = await asyncio.to_thread(workspace.fetch)
    await _end_overtaken(root, item, project, tip, but=item.validated)
    if await asyncio.to_thread(workspace.is_ancestor, item.validated, tip):
        begun = await root.store.aread(_begun, item)
        if begun or not await asyncio.to_thread(workspace.diffstat, item.validated, tip):
            return await _landed(root, item, item.validated, lease)
        return MovedOn(tip)
    if tip != item.validated_base:
        await _end_overtaken(root, item, project, tip)
        return MovedOn(tip)
    effect, _first = await root.store.awrite(
        journal.start, item, LAND, lease, subject=item.validated, now=root.now(), base=tip
    )
    try:
        outcome = await _moved(root, project, item.pull_number, item.validated, tip)
    except Refused:  # it was understood and declined: nothing landed
        await root.store.awrite(journal.abandon, effect)
        raise
    if isinstance(outcome, Landed):
        return await _landed(root, item, item.validated, lease)
    await root.store.awrite(journal.abandon, effect)
    return outcome


async def _moved(
    root: Services, project: Project, pull: int | None, commit: str, base: str
) -> Landed | MovedOn | Protected:
    """What `move` comes to; `Refused`, too, where the forge's API confirms that git was turned away by the forge."""
    try:
        return await move(root, project, pull, commit, base)
    except TurnedAway as error:
        if (why := await refusal(root, project, error)) is not None:
            raise Refused(why) from error
        raise


async def move(
    root: Services, project: Project, pull: int | None, commit: str, base: str
) -> Landed | MovedOn | Protected:
    """Move the default branch from `base` to `commit`: by the forge's fast-forward merge of `pull`, else by a push."""
    workspace = root.workspace(project)
    if pull is not None:
        merged = await root.forge.fast_forward(project, number=pull, commit=commit)
        if merged is not None:
            tip = await asyncio.to_thread(workspace.fetch)
            if isinstance(merged, Landed) and not await asyncio.to_thread(workspace.is_ancestor, commit, tip):
                return MovedOn(tip)
            return merged
    return await asyncio.to_thread(lambda: workspace.land(commit, expected=base))


async def _end_overtaken(root: Services, item: WorkItem, project: Project, tip: str, *, but: str | None = None) -> None:
    """End the landings, except that of `but`, that were begun, whose answer was lost, and which are not to be repeated."""
    for effect in await root.store.aread(_landings, item):
        commit = _commit(effect)
        if not effect.open or commit == but:
            continue
        if await _has(root.workspace(project), commit, tip):
            await root.store.awrite(journal.finish, effect, f"the default branch contains {commit}", root.now())
        else:
            await root.store.awrite(journal.abandon, effect)


async def _has(workspace: Workspace, commit: str, tip: str) -> bool:
    """Whether the default branch, fetched just now, has `commit`; of a commit that was never fetched it is known, too."""
    try:
        return await asyncio.to_thread(workspace.is_ancestor, commit, tip)
    except CouldNotRun:
        return False


def under_way(session: Session, item: WorkItem) -> bool:
    """Whether the landing of the validated commit was begun and its outcome is not known yet."""
    return any(effect.open and _commit(effect) == item.validated for effect in _landings(session, item))


def _begun(session: Session, item: WorkItem) -> bool:
    """Whether an earlier run may have landed the validated commit itself."""
    return any(_commit(effect) == item.validated for effect in _landings(session, item))


def _landings(session: Session, item: WorkItem) -> list[Effect]:
    return [effect for effect in journal.of_item(session, item.id) if effect.name == LAND]


def _commit(effect: Effect) -> str:
    return effect.key.rpartition(":")[2]


async def _landed(root: Services, item: WorkItem, commit: str, lease: Lease) -> Landed:
    await root.store.awrite(_record, item, commit, lease, root)
    return Landed(commit)


def _record(session: Session, item: WorkItem, commit: str, lease: Lease, root: Services) -> None:
    now = root.now()
    effect, _first = journal.start(session, item, LAND, lease, subject=commit, now=now)
    journal.finish(session, effect, f"the default branch is {commit}", now)
    items.update(session, item, lease.token, now, landed=commit)
    if item.pull_number is not None:
        outbox.landed(session, item.key, item.pull_number, commit, now)


@task(name="open the pull request", **STEP)
async def open_pull(key: str, token: str) -> int:
    """The number of the task branch's pull request; opened when there is none."""
    root, item, project = await subject(key)
    if item.pull_number is not None:
        pull = await root.forge.pull(project, item.pull_number)
        if pull.open:
            return pull.number
    body = f"{item.key}: {item.title}\n\nArtifacts: `{item.artifacts}`"
    pull = await root.forge.open_pull(project, branch=item.branch, title=f"{item.key}: {item.title}", body=body)
    await root.store.awrite(items.update, item, token, root.now(), pull_number=pull.number)
    return pull.number
