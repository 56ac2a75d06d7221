"""Work items, and what they are held for or wait for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.stages import Role, Stage, Status


class Hold(StrEnum):
    """Why an item is held: nothing but a person moves it on."""

    BLOCKED = "blocked"
    ESCALATED = "escalated"
    NEEDS_INPUT = "needs input"


class WaitKind(StrEnum):
    """What an item waits for. People are waited for in a suspended run; for machines the run ends."""

    APPROVAL = "approval"
    CONFIRMATION = "confirmation"
    ANSWER = "answer"
    INTEGRITY = "integrity"
    BUDGET = "budget"
    VERDICT = "verdict"
    CI = "ci"
    MERGE_TURN = "merge-turn"
    DEPLOY = "deploy"
    MONITOR = "monitor"
    BACK_OFF = "back-off"
    DEPENDENCY = "dependency"
    SERIAL = "serial"
    FREEZE = "freeze"

    @property
    def human(self) -> bool:
        """Whether a person ends this wait."""
        return self in (
            *(WaitKind.APPROVAL, WaitKind.CONFIRMATION, WaitKind.ANSWER, WaitKind.INTEGRITY, WaitKind.BUDGET),
        )

    @property
    def timed(self) -> bool:
        """Whether the next look has a time, for which its run is scheduled at once; the tick makes good one that is lost."""
        return self in (WaitKind.DEPLOY, WaitKind.MONITOR)


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One tracker issue under Orch's care: a snapshot of its row.

    `version` moves with every stage write. `tip` is the commit of the task branch that Orch last pushed or adopted,
    `pushing` one that it is about to push, `head` the last one that changes anything outside the item's artifacts.
    `deployed` is the commit that was verified to serve production, which is watched until `monitor_until`.
    """

    id: int
    key: str
    project: str
    tracker_id: str
    title: str
    branch: str
    stage: Stage
    version: int
    attempts: Mapping[str, int]
    visits: Mapping[str, int]
    created_at: datetime
    entered_at: datetime
    priority: str = "none"
    failures: int = 0
    not_before: datetime | None = None
    hold: Hold | None = None
    hold_reason: str = ""
    held_at: datetime | None = None
    feedback: str = ""
    pull_number: int | None = None
    head: str | None = None
    tip: str | None = None
    pushing: str | None = None
    validated: str | None = None
    validated_base: str | None = None
    approved: str | None = None
    confirmed: str | None = None
    landed: str | None = None
    deployed: str | None = None
    monitor_until: datetime | None = None
    shown: Status | None = None
    cancel_requested_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def visit(self) -> int:
        """How many times the item has entered its current stage; agent runs and run names carry it."""
        return self.visits.get(self.stage.value, 0)

    @property
    def artifacts(self) -> str:
        """The folder on the branch that holds this item's artifacts."""
        return f"docs/work-items/{self.key}"

    def attempts_of(self, role: Role) -> int:
        """Attempts of `role` spent on red answers so far."""
        return self.attempts.get(role.value, 0)
