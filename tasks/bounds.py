"""What an agent may change: anything where others judge the change afterwards, where it judges itself only artifacts.

Whatever is kept of a judge's work will land unseen by anybody else, so what has strayed is put back before the agent's
run is recorded as ended. Who is killed in between leaves a run without an end, whose worktree is put back anyway.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.model import AgentEnd, AgentOutcome, WorkItem
from pipeline.stages import ROWS
from pipeline.workspace import Workspace

NAMED = 5
"""So many files are named in a sentence at most."""


def beginning(workspace: Workspace, item: WorkItem) -> str:
    """The commit that an agent starts from; a judge's is free of what others have left unpublished. Idempotent."""
    if ROWS[item.stage].judges and item.tip is not None:
        _put_back(workspace, item, item.tip)
    return workspace.tip(item.key)


def judged(workspace: Workspace, item: WorkItem, start: str, outcome: AgentOutcome) -> AgentOutcome:
    """The outcome of an agent that began at `start`: a judge's that has changed anything else is a failure.

    Nothing of its work is kept then. Call it before the outcome is recorded. Raises `CouldNotRun` as `commit_all` does.
    """
    strays = _put_back(workspace, item, start) if ROWS[item.stage].judges else ()
    if not strays:
        return outcome
    why = f"It changed {_some(strays)}; at {item.stage} only files below {item.artifacts}/ may be changed"
    end = AgentEnd.FAILED if outcome.end is AgentEnd.FINISHED else outcome.end
    return replace(outcome, end=end, question="", sentence=f"{outcome.sentence} {why}, so its work was not kept.")


def _put_back(workspace: Workspace, item: WorkItem, since: str) -> tuple[str, ...]:
    """The files that were changed since and are not artifacts; the worktree then stands at `since` again."""
    commit = workspace.commit_all(item.key, f"{item.key}: {item.stage}")
    strays = workspace.changed_outside(item.artifacts, since, commit)
    if strays:
        workspace.restore(item.key, since)
    return strays


def _some(names: Sequence[str]) -> str:
    further = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {further} more" if further > 0 else "")
