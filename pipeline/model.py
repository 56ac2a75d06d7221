"""The words of Orch as plain, immutable values. Times are aware UTC datetimes, durations seconds, money US dollars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pipeline.signals import Signal
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


# --- gates -----------------------------------------------------------------------------------------------------------


class Answer(StrEnum):
    """What a gate can say."""

    PASS = "pass"  # noqa: S105  a gate's answer, not a password
    FAIL = "fail"
    PENDING = "pending"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate's answer with its one sentence for people, what it was about, and the evidence behind it."""

    answer: Answer
    sentence: str
    commit: str | None = None
    waits_for: WaitKind | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)


def Pass(sentence: str, *, commit: str | None = None, **evidence: object) -> GateResult:  # noqa: N802  reads as a value
    """The gate is green."""
    return GateResult(Answer.PASS, sentence, commit, evidence=evidence)


def Fail(sentence: str, *, commit: str | None = None, **evidence: object) -> GateResult:  # noqa: N802  reads as a value
    """The gate is red: the item goes back and an attempt is spent."""
    return GateResult(Answer.FAIL, sentence, commit, evidence=evidence)


def Pending(  # noqa: N802  reads as a value
    sentence: str, waits_for: WaitKind, *, commit: str | None = None, **evidence: object
) -> GateResult:
    """The gate cannot tell yet; `waits_for` says who or what will make it tell."""
    return GateResult(Answer.PENDING, sentence, commit, waits_for, evidence)


def NotApplicable(sentence: str) -> GateResult:  # noqa: N802  reads as a value
    """The gate does not apply to this project or item, and the sentence says why."""
    return GateResult(Answer.NOT_APPLICABLE, sentence)


# --- people ----------------------------------------------------------------------------------------------------------


class Choice(StrEnum):
    """What a person can decide."""

    APPROVE = "approve"
    REJECT = "reject"
    CONFIRM = "confirm"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's recorded decision. It counts only for the wait kind and the commit it was made about."""

    kind: WaitKind
    choice: Choice
    commit: str
    actor: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message; `data` (at most 64 bytes, as Telegram has it) comes back when it is pressed."""

    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What an item waits for. `key` names the suspension; open while `closed_at` is None."""

    id: int
    key: str
    kind: WaitKind
    stage: Stage
    visit: int
    sentence: str
    since: datetime
    deadline: datetime | None
    look_again_at: datetime | None
    commit: str | None
    flow_run_id: str | None
    wake_requested_at: datetime | None
    closed_at: datetime | None


# --- agents ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """What one agent run consumed. `full_input` is what the model read; the cached part is told apart."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    turns: int = 0

    @property
    def full_input(self) -> int:
        """All input tokens, cached ones included."""
        return self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens


class AgentEnd(StrEnum):
    """How an agent run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Room:
    """What a command may touch when it is confined: everything else is read-only, and what is Orch's is not there.

    `home` and the folders `writable` are its own, but for the files `fixed` in them. `readable` shows folders or files
    of the hidden ones, `empty` hides folders inside of these, and `instead` shows the first of each pair, writable, at
    the place of the second.
    """

    home: Path
    writable: tuple[Path, ...] = ()
    fixed: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()
    instead: tuple[tuple[Path, Path], ...] = ()
    network: bool = False


Confine = Callable[[Sequence[str], Path], Sequence[str]]
"""Of a command, and the file with its prompt, the arguments of a sandbox that come before it; none: not confined."""


def _unconfined(_command: Sequence[str], _prompt: Path) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class AgentJob:
    """One agent run to be carried out. `environment` is everything the agent will see, nothing is inherited.

    0 turns or dollars mean no limit.
    """

    role: Role
    work_item: str
    worktree: Path
    prompt: str
    log: Path
    timeout_s: float
    idle_timeout_s: float
    environment: Mapping[str, str]
    confine: Confine = _unconfined
    model: str = ""
    effort: str = ""
    max_turns: int = 0
    max_budget_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """What became of an agent run. `question` is set when the agent asks a person instead of finishing."""

    end: AgentEnd
    sentence: str
    exit_code: int | None
    usage: Usage
    duration_s: float
    question: str = ""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Tells a process apart for good: a process group id means nothing on another host or after a reboot."""

    host: str
    boot: str
    pgid: int
    started: float


# --- outside systems -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrackerState:
    """One state of a tracker project, as it stands there."""

    id: str
    name: str
    group: str


@dataclass(frozen=True, slots=True)
class TrackerItem:
    """A tracker issue as the API tells it. `description` is plain text, `labels` are ids."""

    id: str
    project_id: str
    sequence_id: int
    title: str
    description: str
    state_id: str
    updated_at: datetime
    labels: tuple[str, ...] = ()
    priority: str = "none"


@dataclass(frozen=True, slots=True)
class TrackerLabel:
    """One label of a tracker project."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackerComment:
    """A comment on a tracker issue, as plain text."""

    id: str
    actor_id: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrackerRef:
    """An issue of the tracker, of whatever project, by its ids."""

    project_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class TrackerMember:
    """Somebody who may work on a tracker project, bots included."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackerActivity:
    """One change of a tracker issue: `field` went from `old` to `new`, in words where it is a state."""

    field: str
    old: str
    new: str
    actor_id: str
    at: datetime


class CiState(StrEnum):
    """The forge's combined word about a commit. `NONE` means that nobody has said anything."""

    NONE = "none"
    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class CiStatus:
    """Combined commit status with the contexts that are not green."""

    state: CiState
    failing: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgeAccess:
    """What Orch's user may do in a repository. `push_default` is about the default branch; None: there is none."""

    push: bool
    admin: bool
    push_default: bool | None
    fast_forward_only: bool


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request of a branch of the repository itself. `head` is the forge's idea of its head commit.

    `updated_at` is cut to whole seconds.
    """

    number: int
    url: str
    open: bool
    merged: bool
    branch: str
    head: str
    base: str
    updated_at: datetime
    merge_commit: str | None = None
    merged_by: str | None = None


class ReviewKind(StrEnum):
    """What a submitted review says."""

    APPROVED = "approved"
    REJECTED = "rejected"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Review:
    """A submitted review of a pull request; ids grow. `commit` is what was reviewed, `stale` tells that the head moved.

    `official` is the forge's word for: of somebody whose verdict counts, and not superseded by a later one of theirs.
    """

    id: int
    reviewer: str
    kind: ReviewKind
    commit: str
    official: bool
    stale: bool
    dismissed: bool
    submitted_at: datetime

    @property
    def rejects(self) -> bool:
        """Whether changes are requested by a verdict that counts now."""
        return self.kind is ReviewKind.REJECTED and self.official and not self.dismissed


@dataclass(frozen=True, slots=True)
class ForgeComment:
    """A comment on a pull request; `text` is the Markdown that was written."""

    id: int
    author: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook of the forge that is to tell Orch. `faults` say, as parts of a sentence, why it does not tell all."""

    id: int
    url: str
    faults: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether it tells what Orch needs. Whether its secret is ours is never told: only a delivery shows that."""
        return not self.faults


# --- git and landing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rebased:
    """The branch stands on `base`; `moved` tells whether commits were rewritten."""

    tip: str
    base: str
    moved: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The branch cannot be put on `base`; the worktree is as it was before."""

    base: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The remote branch is `tip` now (also when it was before)."""

    tip: str


@dataclass(frozen=True, slots=True)
class Found:
    """Where somebody else's push has left a task branch."""

    tip: str
    head: str


@dataclass(frozen=True, slots=True)
class MovedOn:
    """The remote branch is not where it was expected; nothing was written. `found` is None when it does not exist."""

    found: str | None


@dataclass(frozen=True, slots=True)
class Landed:
    """The default branch is exactly `commit`, verified after the fact."""

    commit: str


@dataclass(frozen=True, slots=True)
class Protected:
    """The forge does not let us move the default branch; `reason` is its own word."""

    reason: str


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of a project's test command on exactly `commit`, in a clean worktree."""

    __test__ = False

    commit: str
    passed: bool
    sentence: str
    duration_s: float
    log: Path
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CoverageRun:
    """One measurement of a project's coverage at exactly `commit`; `percent` is None when it could not be told."""

    commit: str
    percent: float | None
    sentence: str
    duration_s: float
    log: Path


@dataclass(frozen=True, slots=True)
class Baseline:
    """The coverage, in percent, that a project has reached on its default branch, and at which commit."""

    percent: float
    commit: str


class MergeEnd(StrEnum):
    """How an attempt to validate a branch for landing ended."""

    VALIDATED = "validated"
    CONFLICT = "conflict"
    RED = "red"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class MergeAttempt:
    """What the merge gate found. `commit` on top of `base` is what was tested; `files` are those in conflict."""

    end: MergeEnd
    sentence: str
    base: str | None = None
    commit: str | None = None
    files: tuple[str, ...] = ()
    tests: TestRun | None = None


# --- staging and production ------------------------------------------------------------------------------------------


class Stand(StrEnum):
    """Where a project runs."""

    STAGING = "staging"
    PRODUCTION = "production"


class Hook(StrEnum):
    """What a project's own commands do to a stand."""

    STAGE = "staging deploy"
    CHECK = "staging check"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class HookEnd(StrEnum):
    """How a hook or check ended. Only `REFUSED` is a verdict about the change."""

    DONE = "done"
    REFUSED = "refused"
    COULD_NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True)
class HookRun:
    """One run of a hook. `output` is the end of what it printed; `exit_code` is None when it did not end by itself."""

    end: HookEnd
    exit_code: int | None
    sentence: str
    duration_s: float
    output: str
    log: Path


class Health(StrEnum):
    """What a probe says of a running service. `INCONCLUSIVE`: the probe could not tell, which is nobody's fault yet."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Probed:
    """One look at a running service; `revision` is what it says that it runs."""

    health: Health
    revision: str | None
    sentence: str


# --- inbound ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateChange:
    """A card now stands in this state; which signal that is depends on the project's states.

    `moved_to` is the state that the change itself led to, where that is told; it differs when the card has been moved
    on before the delivery was written.
    """

    state_id: str
    state_name: str
    state_group: str
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class InboundSignal:
    """What a delivery says, before the registry has resolved its project.

    `project_ref` is the tracker's project id or the forge's `owner/name`, and empty for a pressed button; `item_ref` a
    tracker issue id, a branch, a pull request as `#12`, a commit as `sha:<sha>`, or the wait that a button was about as
    `wait:<key>`. Exactly one of `signal` and `state` is set.
    """

    project_ref: str
    item_ref: str
    signal: Signal | None = None
    state: StateChange | None = None
    actor: str = ""
    actor_id: str = ""
    payload: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified webhook, understood. Without signals `ignored_because` says why, in one sentence."""

    source: str
    event: str
    digest: str
    signals: tuple[InboundSignal, ...] = ()
    ignored_because: str = ""
