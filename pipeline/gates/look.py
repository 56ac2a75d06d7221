"""What a gate may look at: one item, its branch, and what was observed and recorded about them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipeline.model import Decision, GateResult, MergeAttempt, TestRun, WorkItem
from pipeline.ports import Forge, Stands
from pipeline.projects import Project
from pipeline.stages import Stage
from pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that a gate is given. Gates read; they never write, push, merge or decide for a person.

    `tip` is the task branch's commit, `head` the last one that changes anything outside the item's artifacts.
    `decisions` are people's decisions on this item, oldest first. `test` gives Orch's own test run of a commit: the
    recorded one, or one made now. `stands` tells about staging and production, and `freshness` whether it matters which
    revision staging runs. `merge` is what the merge gate found in this run, if it ran.
    """

    item: WorkItem
    project: Project
    tip: str
    head: str
    workspace: Workspace
    forge: Forge
    decisions: tuple[Decision, ...]
    stands: Stands
    test: Callable[[str], Awaitable[TestRun]]
    merge: MergeAttempt | None = None
    description: str = ""
    min_description_chars: int = 30
    freshness: bool = True


@dataclass(frozen=True, slots=True)
class Gate:
    """One deterministic check. `asked_again_by` says what makes a pending answer worth asking for again."""

    name: str
    stage: Stage | None
    ask: Callable[[Look], Awaitable[GateResult]]
    asked_again_by: str
