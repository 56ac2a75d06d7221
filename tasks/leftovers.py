"""What a stopped item left outside of the store: its artifacts are archived, its worktree and its branch go."""

import asyncio
import logging

from prefect import task

from pipeline.branches import PREFIX
from pipeline.errors import CouldNotRun, Refused, TurnedAway, Unavailable
from pipeline.model import WorkItem
from pipeline.projects import Project
from pipeline.store import journal
from pipeline.store.leases import Lease
from pipeline.workspace import Workspace
from tasks.services import Services
from tasks.steps import STEP, alone
from tasks.turned_away import refusal

log = logging.getLogger("orch.leftovers")


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
    except TurnedAway as error:
        refused = await refusal(root, project, error)
        if refused is None:
            raise
        left.append(refused)
    except Unavailable:
        raise
    except (Refused, CouldNotRun) as error:
        left.append(str(error))
    return left


async def _archive(root: Services, item: WorkItem, project: Project) -> None:
    """Write the item's artifacts, unfinished ones included, below the folder of its logs.

    Once the worktree is gone, what has been archived is the last word: the forge may know an earlier one only.
    """
    workspace = root.workspace(project)
    folder = root.settings.runs_folder / item.key / f"archive-{item.id}"
    await asyncio.to_thread(workspace.fetch)
    if folder.exists() and item.key not in await asyncio.to_thread(workspace.worktrees):
        return
    commit = await asyncio.to_thread(_last_commit, workspace, item)
    if commit is not None:
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
