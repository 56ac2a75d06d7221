"""Reverting a landed change on the default branch, through the same gate as any change."""

import asyncio
from contextlib import AsyncExitStack

from sqlmodel import Session

from pipeline.branches import PREFIX
from pipeline.errors import OrchError
from pipeline.model import Conflict, Landed, WorkItem
from pipeline.projects import Project
from pipeline.store import journal, stands
from pipeline.store.journal import Effect
from pipeline.store.leases import Lease
from tasks import production, staging
from tasks.branch import log_file
from tasks.landing import MergeLock, merge_turn, move
from tasks.services import Services

REVERT = "revert"
TRIES = 12
PAUSE_S = 5.0
"""How often, and how far apart, the merge lock is tried: the alert waits for the outcome."""


async def was_reverted(root: Services, item: WorkItem) -> bool:
    """Whether the item's landed change was taken back on the default branch."""
    return await root.store.aread(_reverted, item)


def _reverted(session: Session, item: WorkItem) -> bool:
    return any(e.name == REVERT and not e.open for e in journal.of_item(session, item.id))


async def revert(root: Services, item: WorkItem, project: Project, lease: Lease) -> str:
    """Land a commit that takes the item's change back; one sentence about how that went. Idempotent.

    It is tested as the tree that lands, under the merge lock, with a pull request of its own. What goes wrong is said
    and left to a person: production has been rolled back already.
    """
    if await was_reverted(root, item):
        return f"{project.default_branch} was reverted before."
    try:
        for _ in range(TRIES):
            async with AsyncExitStack() as stack:
                turn = await stack.enter_async_context(merge_turn(root, item, project))
                deploying = await root.store.aread(production.deploy_in_the_way, item)
                if isinstance(turn, MergeLock) and deploying is None:
                    return await _in_turn(root, item, project, lease)
            await asyncio.sleep(PAUSE_S)
    except OrchError as error:
        if await was_reverted(root, item):
            return f"{project.default_branch} was reverted, but its pull request could not be marked: {error}"
        return f"{project.default_branch} could not be reverted: {error}"
    return f"{project.default_branch} could not be reverted: others merge or deploy just now."


async def _in_turn(root: Services, item: WorkItem, project: Project, lease: Lease) -> str:
    workspace, main = root.workspace(project), project.default_branch
    tip = await asyncio.to_thread(workspace.fetch)
    for begun in await root.store.aread(_begun, item):
        if await asyncio.to_thread(workspace.is_ancestor, begun.details["commit"], tip):
            return await _landed(root, item, project, begun)
    landed, base = item.landed or "", item.validated_base or ""
    message = f"Revert {item.key}: {item.title}\n\nProduction was degraded with {landed}."
    made = await asyncio.to_thread(lambda: workspace.revert(landed, since=base, onto=tip, message=message))
    if isinstance(made, Conflict):
        return f"{main} was not reverted: later changes of {', '.join(made.files)} are in the way."
    branch = f"{PREFIX}{item.key}-revert-{made[:12]}"
    await asyncio.to_thread(lambda: workspace.push_commit(made, branch))
    body = f"Takes {item.key} ({landed}) back."
    pull = await root.forge.open_pull(project, branch=branch, title=f"Revert {item.key}: {item.title}", body=body)
    log = log_file(root, item, f"tests-revert-{made[:12]}")
    tests = await asyncio.to_thread(lambda: workspace.run_tests(made, log=log))
    if not tests.passed:
        return f"{main} was not reverted: the tests of pull request #{pull.number} are red: {tests.sentence}"
    percent = await staging.measure_coverage(item.key, made)
    effect, _first = await root.store.awrite(
        journal.start, item, REVERT, lease, subject=made, now=root.now(), commit=made, pull=pull.number, percent=percent
    )
    outcome = await move(root, project, pull.number, made, tip)
    if not isinstance(outcome, Landed):
        await root.store.awrite(journal.abandon, effect)
        return f"{main} was not reverted: pull request #{pull.number} could not land ({outcome})."
    return await _landed(root, item, project, effect)


def _begun(session: Session, item: WorkItem) -> list[Effect]:
    return [e for e in journal.of_item(session, item.id) if e.name == REVERT and e.open]


async def _landed(root: Services, item: WorkItem, project: Project, effect: Effect) -> str:
    """The default branch has the revert: end the effect, and have later changes measured against what there is now."""
    commit, pull = str(effect.details["commit"]), int(effect.details["pull"])
    await root.store.awrite(_record, item, effect, root)
    await root.forge.mark_landed(project, number=pull, commit=commit)
    return f"{project.default_branch} was reverted by {commit[:12]} (pull request #{pull})."


def _record(session: Session, item: WorkItem, effect: Effect, root: Services) -> None:
    commit, percent = str(effect.details["commit"]), effect.details.get("percent")
    if percent is not None:
        stands.lower(session, item.project, float(percent), commit, root.now())
    journal.finish(session, effect, f"the default branch is {commit}", root.now())
