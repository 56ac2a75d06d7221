"""The task branch: made ready for work, published, tested. Git blocks, so it runs in threads."""

import asyncio
from pathlib import Path

from prefect import task

from pipeline.clients.testing_output import of_both
from pipeline.decide import BRANCH_IS_JUDGED
from pipeline.errors import StaleWrite
from pipeline.model import Conflict, Found, MovedOn, Rebased, TestRun, WorkItem
from pipeline.projects import Project
from pipeline.store import evidence, items
from tasks import progress
from tasks.services import Services
from tasks.steps import STEP, subject

FIRST_RUN = "-first"
"""How the purpose of a red test run ends that is repeated."""


@task(name="fetch", **STEP)
async def fetch(key: str) -> str:
    """Bring the clone up to date; the default branch's commit."""
    root, _item, project = await subject(key)
    return await asyncio.to_thread(root.workspace(project).fetch)


@task(name="prepare the branch", **STEP)
async def prepare(key: str, token: str) -> Found | None:
    """Have the item's worktree stand where work goes on; what somebody else has pushed, where that is to be judged.

    That is not taken over here but in the write that voids the verdicts: a run that dies in between finds it again.
    Commits that were made here and not pushed yet are kept, unless somebody else has pushed. What a run of ours pushed
    before it died is known by what it had said that it would push: a worktree that was lost tells nothing.
    """
    root, item, project = await subject(key)
    workspace = root.workspace(project)

    def ready() -> str | None:
        workspace.fetch()
        workspace.worktree(item.key, item.branch)
        remote = workspace.remote_tip(item.branch)
        if remote not in (None, item.tip, item.pushing):
            workspace.restore(item.key, remote)
        return remote

    remote = await asyncio.to_thread(ready)
    if remote in (None, item.tip):
        return None
    if remote != item.pushing and item.tip is not None and item.stage in BRANCH_IS_JUDGED:
        return Found(remote, await asyncio.to_thread(workspace.head, remote, item.artifacts))
    await record(root, item, project, token, tip=remote)
    return None


@task(name="publish the branch", **STEP)
async def publish(key: str, token: str, message: str) -> str:
    """Commit what was left uncommitted and push the task branch with a lease; the pushed commit.

    Raises `StaleWrite` when somebody else has pushed meanwhile: nothing is overwritten.
    """
    root, item, project = await subject(key)
    workspace = root.workspace(project)

    def ready() -> tuple[str, str | None]:
        workspace.fetch()
        commit, remote = workspace.commit_all(item.key, message), workspace.remote_tip(item.branch)
        if remote not in (None, commit, item.tip):
            raise StaleWrite(f"Somebody pushed {remote} to {item.branch}; what stands there is judged instead.")
        return commit, remote

    commit, remote = await asyncio.to_thread(ready)
    await root.store.awrite(items.update, item, token, root.now(), pushing=commit)
    pushed = await asyncio.to_thread(lambda: workspace.push(item.key, item.branch, expected=remote))
    if isinstance(pushed, MovedOn):
        raise StaleWrite(f"{item.branch} moved to {pushed.found} while it was being pushed.")
    await record(root, item, project, token, tip=pushed.tip)
    return pushed.tip


@task(name="rebase", **STEP)
async def rebase(key: str, onto: str) -> Rebased | Conflict:
    """Put the task branch on top of `onto` in its worktree; nothing is pushed."""
    root, item, project = await subject(key)
    return await asyncio.to_thread(root.workspace(project).rebase, item.key, onto)


@task(name="run the tests", **STEP)
async def run_tests(key: str, commit: str, purpose: str) -> TestRun:
    """Orch's own run of the project's tests on exactly `commit`: the recorded one, or one made now."""
    root, item, project = await subject(key)
    return await tested(root, item, project, commit, purpose)


async def tested(root: Services, item: WorkItem, project: Project, commit: str, purpose: str) -> TestRun:
    """The recorded test run of `commit` for `purpose`, or one made and recorded now. Raises `CouldNotRun`.

    Where the project repeats red tests, a red run is followed by a second one, which counts. The first is recorded
    under a purpose of its own, so that whoever is killed between the two goes on with the second.
    """
    known = await root.store.aread(evidence.tests_of, item.id, commit, purpose, since=item.entered_at)
    if known is not None:
        return known
    before = f"{purpose}{FIRST_RUN}"
    first = await root.store.aread(evidence.tests_of, item.id, commit, before, since=item.entered_at)
    if first is None or not project.repeat_red_tests:
        first = await _run(root, item, project, commit, purpose)
        repeated = project.repeat_red_tests and not first.passed
        await root.store.awrite(evidence.tests_ran, item.id, before if repeated else purpose, first, root.now())
        if not repeated:
            return first
    second = of_both(first, await _run(root, item, project, commit, purpose))
    await root.store.awrite(evidence.tests_ran, item.id, purpose, second, root.now())
    return second


async def _run(root: Services, item: WorkItem, project: Project, commit: str, purpose: str) -> TestRun:
    log = log_file(root, item, f"tests-{purpose}-{commit[:12]}")
    async with progress.shown(f"The tests of {item.key}, for {purpose}", project.test_timeout_s):
        return await asyncio.to_thread(lambda: root.workspace(project).run_tests(commit, log=log))


async def record(root: Services, item: WorkItem, project: Project, token: str, *, tip: str) -> WorkItem:
    """Remember where the task branch stands on the forge."""
    head = await asyncio.to_thread(root.workspace(project).head, tip, item.artifacts)
    return await root.store.awrite(items.update, item, token, root.now(), tip=tip, head=head, pushing=None)


def log_file(root: Services, item: WorkItem, name: str) -> Path:
    """Where a log of the item goes: one folder an item, nothing is ever overwritten."""
    folder = root.settings.runs_folder / item.key
    folder.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in folder.glob(f"{name}*"))
    return folder / (f"{name}-{number + 1}.log" if number else f"{name}.log")
