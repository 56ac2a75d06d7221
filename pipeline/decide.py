"""What follows: pure decisions about signals and about gates. Flows observe, ask here, and act.

`on_signal` says what a signal means to an item as it stands; `on_gates` says where a stage's gate answers lead. Neither
reads a clock, a database or the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.model import Answer, Choice, GateResult, Hold, Wait, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import ROWS, Role, Stage

# --- signals ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """There is no such item yet: intake creates it."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The held item goes on where it stands."""

    why: str


@dataclass(frozen=True, slots=True)
class Look:
    """The stage should look again; nothing is known to have changed for good."""

    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """A person's decision that counts, for this kind of wait and this commit."""

    kind: WaitKind
    choice: Choice
    commit: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Back:
    """The item goes back to an earlier stage; `spend` counts an attempt of that role."""

    to: Stage
    why: str
    spend: Role | None = None


@dataclass(frozen=True, slots=True)
class HoldIt:
    """The item is held until a person moves it on."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The item is stopped and cancelled."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing follows; `tell` says whether a person should read why, in a comment."""

    why: str
    tell: bool = False


Reaction = Start | Resume | Look | Record | Back | HoldIt | Stop | Ignore

BRANCH_IS_JUDGED = (Stage.REVIEW, Stage.TESTING, Stage.DEPLOY_STAGING, Stage.DEPLOY)
"""Stages at which somebody else's push makes earlier verdicts void."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An item as a signal finds it. `worked` tells whether the agent of this visit has finished."""

    item: WorkItem | None
    wait: Wait | None = None
    worked: bool = False


def on_signal(standing: Standing, signal: Signal, payload: Mapping[str, Any]) -> Reaction:
    """What `signal` means to the item just now. Total: every signal has a reaction at every stage."""
    item = standing.item
    if item is None:
        if signal is Signal.START_REQUESTED:
            return Start()
        return Ignore("There is no such work item.", tell=False)
    if item.stage.terminal:
        return _ended(item, signal)
    if item.hold is not None and signal in (Signal.PUSHED, Signal.REVIEW_SUBMITTED, Signal.CI_FINISHED):
        return Ignore(f"{item.key} is held; `orch retry {item.key}` lets it go on.")
    return _REACTIONS[signal](item, standing, payload)


def _ended(item: WorkItem, signal: Signal) -> Reaction:
    told = signal in (Signal.START_REQUESTED, Signal.APPROVED, Signal.REJECTED, Signal.DEPLOY_CONFIRMED)
    return Ignore(f"{item.key} is {item.stage} already.", tell=told and item.stage is Stage.DONE)


def _start(item: WorkItem, _standing: Standing, _payload: Mapping[str, Any]) -> Reaction:
    if item.stage is not Stage.ANALYSIS:
        return Ignore(f"{item.key} is past analysis already, at {item.stage}; nothing was started.", tell=True)
    if item.hold is not None:
        return Resume("A person moved it to To Analyse again.")
    return Ignore(f"{item.key} is being analysed already.")


def _approval(item: WorkItem, standing: Standing, payload: Mapping[str, Any], choice: Choice) -> Reaction:
    asked = standing.wait is not None and standing.wait.kind is WaitKind.APPROVAL
    if asked and standing.wait is not None and standing.wait.commit:
        return Record(WaitKind.APPROVAL, choice, standing.wait.commit, str(payload.get("text", "")))
    if item.stage is Stage.ANALYSIS and standing.worked and item.tip and item.hold is None:
        return Record(WaitKind.APPROVAL, choice, item.tip, str(payload.get("text", "")))
    return Ignore(f"Nothing about {item.key} waits for an approval now (it is at {item.stage}).", tell=True)


def _approved(item: WorkItem, standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    return _approval(item, standing, payload, Choice.APPROVE)


def _rejected(item: WorkItem, standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    return _approval(item, standing, payload, Choice.REJECT)


def _confirmed(item: WorkItem, standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    asked = standing.wait is not None and standing.wait.kind is WaitKind.CONFIRMATION
    if asked and standing.wait is not None and standing.wait.commit:
        return Record(WaitKind.CONFIRMATION, Choice.CONFIRM, standing.wait.commit, str(payload.get("text", "")))
    if item.stage is Stage.DEPLOY and item.validated and item.landed is None and item.hold is None:
        return Record(WaitKind.CONFIRMATION, Choice.CONFIRM, item.validated, str(payload.get("text", "")))
    return Ignore(f"Nothing about {item.key} waits for a deploy confirmation now (it is at {item.stage}).", tell=True)


def _answered(item: WorkItem, standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    text = str(payload.get("text", "")).strip()
    if standing.wait is None or standing.wait.kind is not WaitKind.ANSWER:
        return Ignore(f"{item.key} has asked nothing.")
    if not text:
        return Ignore("The answer is empty.")
    return Record(WaitKind.ANSWER, Choice.ANSWER, standing.wait.commit or "", text)


def _stop(_item: WorkItem, _standing: Standing, _payload: Mapping[str, Any]) -> Reaction:
    return Stop()


def _ci(item: WorkItem, standing: Standing, _payload: Mapping[str, Any]) -> Reaction:
    if standing.wait is not None and standing.wait.kind is WaitKind.CI:
        return Look("CI has said something.")
    return Ignore(f"{item.key} does not wait for CI.")


def _pushed(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    if payload.get("after") in (item.tip, item.validated):
        return Ignore("That commit is known.")
    who = payload.get("pusher") or "somebody"
    if item.landed is not None:
        return Ignore(f"{who} pushed to the branch after it had landed.")
    if item.stage in BRANCH_IS_JUDGED:
        return Back(Stage.REVIEW, f"{who} pushed to the task branch, so earlier verdicts are void.")
    return Look(f"{who} pushed to the task branch.")


def _review(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    if payload.get("kind") != "rejected":
        return Ignore("A review on the pull request passes no gate by itself.")
    if item.stage not in BRANCH_IS_JUDGED or item.landed is not None:
        return Ignore(f"{item.key} is at {item.stage}: there is nothing to take back.")
    who = payload.get("reviewer") or "A person"
    return Back(Stage.DEVELOPMENT, f"{who} requested changes on the pull request.", spend=Role.DEVELOPER)


def _merged(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    if item.landed is not None:
        return Ignore("Orch landed it itself.")
    who = payload.get("merged_by") or "somebody"
    return HoldIt(f"{who} merged the pull request while {item.key} was at {item.stage}: what landed was not validated.")


def _closed(item: WorkItem, _standing: Standing, _payload: Mapping[str, Any]) -> Reaction:
    if item.landed is not None:
        return Ignore("Its change has landed.")
    return HoldIt("The pull request was closed without being merged.")


_REACTIONS = {
    Signal.START_REQUESTED: _start,
    Signal.APPROVED: _approved,
    Signal.REJECTED: _rejected,
    Signal.DEPLOY_CONFIRMED: _confirmed,
    Signal.ANSWER_GIVEN: _answered,
    Signal.STOP_REQUESTED: _stop,
    Signal.CI_FINISHED: _ci,
    Signal.PUSHED: _pushed,
    Signal.REVIEW_SUBMITTED: _review,
    Signal.PR_MERGED: _merged,
    Signal.PR_CLOSED: _closed,
}


# --- gates -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """One gate's answer."""

    gate: str
    result: GateResult


@dataclass(frozen=True, slots=True)
class Advance:
    """Every gate is green: on to the next stage."""

    to: Stage
    why: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """Back to an earlier stage with `feedback` for whoever works there.

    A red gate spends one attempt of `role`; without a role nothing was judged and nothing is spent.
    """

    to: Stage
    role: Role | None
    why: str
    feedback: str


@dataclass(frozen=True, slots=True)
class Escalate:
    """A gate is red once too often: a person is called and nothing else moves the item."""

    why: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A person has to decide about `commit`."""

    kind: WaitKind
    sentence: str
    commit: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """A machine has to say something first."""

    kind: WaitKind
    sentence: str
    commit: str | None


Outcome = Advance | RollBack | Escalate | Ask | WaitFor


def decisive(answers: Sequence[Answered]) -> Answered | None:
    """The first answer that keeps the item from going on."""
    return next((a for a in answers if a.result.answer in (Answer.FAIL, Answer.PENDING)), None)


def on_gates(item: WorkItem, answers: Sequence[Answered], *, cap: Mapping[Role, int]) -> Outcome:
    """Where the answers of the stage's gates, in order and up to the first that is not green, lead."""
    row = ROWS[item.stage]
    first = decisive(answers)
    if first is None:
        return Advance(row.to, "; ".join(f"{a.gate}: {a.result.sentence}" for a in answers))
    result = first.result
    if result.answer is Answer.FAIL:
        return roll_back(item, row.back_to, f"{first.gate}: {result.sentence}", cap=cap)
    if result.waits_for is None:
        raise ValueError(f"gate {first.gate} is pending and does not say what for")
    if result.waits_for.human:
        return Ask(result.waits_for, result.sentence, result.commit or item.tip or "")
    return WaitFor(result.waits_for, result.sentence, result.commit)


def roll_back(item: WorkItem, to: Stage, why: str, *, cap: Mapping[Role, int]) -> RollBack | Escalate:
    """One way back to `to`, or escalation when its role has had all its attempts."""
    role = ROWS[to].role
    spent = item.attempts_of(role)
    if spent >= cap[role]:
        return Escalate(f"{why} This was the {role}'s attempt {spent + 1} of {cap[role] + 1}; a person has to look.")
    return RollBack(to, role, why, feedback=why)


def held_because(item: WorkItem) -> str | None:
    """Why no stage of the item may run now; None when one may."""
    if item.cancel_requested_at is not None:
        return f"{item.key} is being stopped."
    if item.stage.terminal:
        return f"{item.key} is {item.stage}."
    if item.hold is Hold.ESCALATED:
        return f"{item.key} is escalated: {item.hold_reason} `orch retry {item.key}` lets it go on."
    if item.hold is Hold.BLOCKED:
        return f"{item.key} is blocked: {item.hold_reason} `orch retry {item.key}` lets it go on."
    return None
