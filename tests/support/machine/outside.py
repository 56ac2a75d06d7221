"""What else is outside of Orch, made up: the forge, the tracker, the agents and what they write, production."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.gates import GATES
from pipeline.gates.look import Gate, Look
from pipeline.model import (
    AgentEnd,
    AgentJob,
    AgentOutcome,
    CiState,
    CiStatus,
    Fail,
    GateResult,
    Health,
    HookEnd,
    HookRun,
    Landed,
    MovedOn,
    Pass,
    Pending,
    Probed,
    Pull,
    Review,
    ReviewKind,
    TrackerItem,
    Usage,
    WaitKind,
)
from pipeline.projects import Project
from pipeline.stages import ROLE_STAGE, ROWS
from tests.support.machine.actors import pause
from tests.support.machine.repository import REPORT, Repository


class MadeUpForge:
    """Fills `pipeline.ports.Forge` for a repository, as far as the flows go."""

    def __init__(self, repository: Repository) -> None:
        self.of = repository
        self.pulls: dict[int, str] = {}

    async def open_pull(self, project: Project, *, branch: str, title: str, body: str) -> Pull:
        pause("forge: open a pull request")
        self.pulls[len(self.pulls) + 1] = branch
        return await self.pull(project, len(self.pulls))

    async def pull(self, project: Project, number: int) -> Pull:
        branch = self.pulls.get(number, "")
        head = self.of.branches.get(branch, "")
        return Pull(number, "", branch in self.of.branches, False, branch, head, "main", datetime.now(UTC))

    async def reviews(self, project: Project, number: int) -> tuple[Review, ...]:
        official = not self.of.chance.one_in(2)
        return (Review(1, "ada", ReviewKind.REJECTED, "c1", official, False, False, datetime.now(UTC)),)

    async def combined_status(self, project: Project, commit: str) -> CiStatus:
        if self.of.chance.one_in(4):
            return CiStatus(CiState.PENDING)
        return CiStatus(CiState.FAILURE if self.of.chance.one_in(7) else CiState.SUCCESS)

    async def fast_forward(self, project: Project, *, number: int, commit: str) -> Landed | MovedOn | None:
        if self.of.chance.one_in(2) or self.of.branches.get(self.pulls[number]) != commit:
            return None
        pause("forge: fast-forward")
        if not self.of.contains(commit, self.of.main):
            return MovedOn(self.of.main)
        self.of.move_main(commit)
        return Landed(commit)

    async def mark_landed(self, project: Project, *, number: int, commit: str) -> None:
        pause("forge: mark")

    async def branch_tip(self, project: Project, branch: str) -> str | None:
        return self.of.branches.get(branch)

    async def delete_branch(self, project: Project, branch: str) -> None:
        pause("forge: delete the branch")
        self.of.branches.pop(branch, None)


class MadeUpTracker:
    """Fills `pipeline.ports.Tracker`: every card asks for something that is worth analysing."""

    async def item(self, project: Project, item_id: str) -> TrackerItem:
        number = int(item_id.rpartition("-")[2])
        description = "A receipt is printed for every sale, with its price."
        return TrackerItem(item_id, str(project.plane_project), number, "It", description, "", datetime.now(UTC))

    async def item_by_key(self, project: Project, key: str) -> TrackerItem:
        return await self.item(project, f"card-{key}")


class MadeUpAgent:
    """Fills `pipeline.ports.Agent`: it changes something, and says how it went."""

    def __init__(self, repository: Repository) -> None:
        self.of = repository

    async def run(self, job: AgentJob, *, started: Callable[..., None]) -> AgentOutcome:
        assert self.of.witness is not None
        pause(f"agent: {job.role}")
        self.of.witness.at_work(job.work_item, f"the {job.role} works")
        self.of.unsaved.setdefault(job.work_item, set()).update(self._made(job))
        pause("agent: ends")
        end = AgentEnd.FAILED if self.of.chance.one_in(12) else AgentEnd.FINISHED
        question = "Which one?" if end is AgentEnd.FINISHED and self.of.chance.one_in(15) else ""
        return AgentOutcome(end, "it ended", 0, Usage(), 1.0, question)

    def _made(self, job: AgentJob) -> set[str]:
        """A change; of who judges one a report, and now and then a change all the same."""
        visit = job.environment["ORCH_VISIT"]
        change, report = f"{job.work_item}:{job.role}:{visit}", f"{job.work_item}{REPORT}{job.role}:{visit}"
        if not ROWS[ROLE_STAGE[job.role]].judges:
            return {change}
        return {report, change} if self.of.chance.one_in(4) else {report}


class Production:
    """What serves, and the project's hooks and probe."""

    def __init__(self, repository: Repository) -> None:
        self.of = repository
        self.serving = "c0"
        self.unsure: set[str] = set()
        self.ran: list[tuple[str, str]] = []

    async def run_hook(self, command: tuple[str, ...], *, facts: dict[str, str], log: Path, **_: Any) -> HookRun:
        assert self.of.witness is not None
        key, commit, back = facts["ORCH_WORK_ITEM"], facts["ORCH_EXPECTED_REVISION"], command == ("roll", "back")
        pause("hook")
        self.of.witness.deploys(key, commit, back=back)
        if self.of.chance.one_in(8):
            return HookRun(HookEnd.REFUSED, 1, "exit code 1", 1.0, "", log)
        self.serving = commit
        self.unsure.discard(commit)
        self.ran.append((key, commit))
        pause("hook: ends")
        return HookRun(HookEnd.DONE, 0, "exit code 0", 1.0, "", log)

    async def probe(self, how: object, **_: Any) -> Probed:
        """Mostly the truth; a commit that it was not told of as healthy is one that nobody can be sure of."""
        if self.of.chance.one_in(10):
            self.unsure.add(self.serving)
            return Probed(Health.INCONCLUSIVE, None, "no answer that says anything")
        if self.of.chance.one_in(10):
            self.unsure.add(self.serving)
            return Probed(Health.DEGRADED, self.serving, "it is not well")
        return Probed(Health.HEALTHY, self.serving, "it is well")


def made_up_gates(repository: Repository) -> dict[str, Gate]:
    """All gates; those that read what agents have written ask chance instead."""
    told = {"analysis_files": None, "architecture_recorded": None, "review_verdict": repository.reviewed}
    made = {name: replace(GATES[name], ask=_verdict(repository, passed)) for name, passed in told.items()}
    return {**GATES, **made, "tests_passed": replace(GATES["tests_passed"], ask=_tested)}


def _verdict(repository: Repository, passed: set[str] | None) -> Callable[[Look], Coroutine[Any, Any, GateResult]]:
    async def ask(look: Look) -> GateResult:
        if repository.chance.one_in(7):
            return Fail("red", commit=look.tip)
        if passed is not None and repository.chance.one_in(8):
            return Pending("the verdict is about another commit", WaitKind.VERDICT, commit=look.tip)
        if passed is not None:
            passed.add(look.tip)
        return Pass("green", commit=look.tip)

    return ask


async def _tested(look: Look) -> GateResult:
    run = await look.test(look.tip)
    return Pass("green", commit=look.tip) if run.passed else Fail("red", commit=look.tip)
