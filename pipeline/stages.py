"""The whole state machine on one page.

`TABLE` is data: what a stage needs to be left, where it leads, and where a red answer leads back to. Everything else
(flows, automations, deployments, the diagram in the README) is derived from it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where a work item stands."""

    ANALYSIS = "analysis"
    ARCHITECTURE = "architecture"
    DEVELOPMENT = "development"
    REVIEW = "review"
    TESTING = "testing"
    DEPLOY_STAGING = "deploy_staging"
    DEPLOY = "deploy"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Nothing but a fresh start moves an item out of a terminal stage."""
        return self in (Stage.DONE, Stage.CANCELLED)


class Role(StrEnum):
    """Who works a stage."""

    ANALYST = "analyst"
    ARCHITECT = "architect"
    DEVELOPER = "developer"
    REVIEWER = "reviewer"
    TESTER = "tester"
    DEPLOYER = "deployer"


STREAM = "stream"
"""The voice that tells of transitions; every role has a voice of its own name."""


class Status(StrEnum):
    """Logical keys of the tracker's states. Projects map their own state names to these."""

    TO_ANALYSE = "to_analyse"
    IN_PROGRESS = "in_progress"
    ANALYSIS = "analysis"
    NEEDS_INPUT = "needs_input"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    ARCHITECTURE = "architecture"
    DEVELOPMENT = "development"
    CODE_REVIEW = "code_review"
    TESTING = "testing"
    AWAITING_DEPLOY = "awaiting_deploy"
    CONFIRM_DEPLOY = "confirm_deploy"
    DEPLOYING = "deploying"
    MONITORING = "monitoring"
    BLOCKED = "blocked"
    STOP = "stop"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the state machine.

    `gates` are asked in order and all must be green; `back_to` is where a red gate leads; `works` tells whether the
    role's agent must have worked before the gates are asked; `shown_as` is the tracker status while the stage is on.
    Where the role `judges` the change, its agent may write the item's artifacts only: nobody would judge its own code.
    """

    at: Stage
    role: Role
    gates: tuple[str, ...]
    to: Stage
    back_to: Stage
    shown_as: Status
    works: bool = True
    judges: bool = False


ENTRY_GATE = "intake_complete"
"""The gate that lets an item into the table at all (QG-0)."""

TABLE: tuple[Row, ...] = (
    Row(
        at=Stage.ANALYSIS,
        role=Role.ANALYST,
        gates=("analysis_files", "analysis_approved"),
        to=Stage.ARCHITECTURE,
        back_to=Stage.ANALYSIS,
        shown_as=Status.ANALYSIS,
    ),
    Row(
        at=Stage.ARCHITECTURE,
        role=Role.ARCHITECT,
        gates=("architecture_recorded",),
        to=Stage.DEVELOPMENT,
        back_to=Stage.ARCHITECTURE,
        shown_as=Status.ARCHITECTURE,
    ),
    Row(
        at=Stage.DEVELOPMENT,
        role=Role.DEVELOPER,
        gates=("ci_green",),
        to=Stage.REVIEW,
        back_to=Stage.DEVELOPMENT,
        shown_as=Status.DEVELOPMENT,
    ),
    Row(
        at=Stage.REVIEW,
        role=Role.REVIEWER,
        gates=("review_verdict", "change_integrity"),
        to=Stage.TESTING,
        back_to=Stage.DEVELOPMENT,
        shown_as=Status.CODE_REVIEW,
        judges=True,
    ),
    Row(
        at=Stage.TESTING,
        role=Role.TESTER,
        gates=("tests_passed",),
        to=Stage.DEPLOY_STAGING,
        back_to=Stage.DEVELOPMENT,
        shown_as=Status.TESTING,
        judges=True,
    ),
    Row(
        at=Stage.DEPLOY_STAGING,
        role=Role.DEPLOYER,
        gates=("branch_mergeable", "coverage_held", "staging_image_fresh", "staging_healthy"),
        to=Stage.DEPLOY,
        back_to=Stage.DEVELOPMENT,
        shown_as=Status.TESTING,
        works=False,
    ),
    Row(
        at=Stage.DEPLOY,
        role=Role.DEPLOYER,
        gates=("deploy_verified",),
        to=Stage.DONE,
        back_to=Stage.DEPLOY_STAGING,
        shown_as=Status.AWAITING_DEPLOY,
        works=False,
    ),
)

ROWS: dict[Stage, Row] = {row.at: row for row in TABLE}

WORKED: tuple[Stage, ...] = tuple(ROWS)
"""Every stage that has a flow, in order."""

ROLE_STAGE: dict[Role, Stage] = {row.role: row.at for row in reversed(TABLE)}
"""The first stage that a role works."""


def allowed(here: Stage, there: Stage) -> bool:
    """Whether an item may move from `here` to `there`: on along the table, back to any stage it has passed, or out.

    Staying counts as a way back: an agent that failed works the same stage again. Out is STOP, or a person who has
    merged the change himself.
    """
    if here not in ROWS:
        return False
    if there.terminal or there is ROWS[here].to:
        return True
    return there in ROWS and WORKED.index(there) <= WORKED.index(here)


def mermaid() -> str:
    """The state diagram that README and docs/architecture.md show, as Mermaid text."""
    lines = ["stateDiagram-v2", f"    [*] --> {TABLE[0].at}: {ENTRY_GATE}"]
    for row in TABLE:
        lines.append(f"    {row.at} --> {row.to}: {', '.join(row.gates)}")
        lines.append(f"    {row.at} --> {row.back_to}: red")
    lines += [f"    {row.at} --> {Stage.CANCELLED}: STOP" for row in TABLE]
    lines += [f"    {stage} --> [*]" for stage in (Stage.DONE, Stage.CANCELLED)]
    return "\n".join(lines)
