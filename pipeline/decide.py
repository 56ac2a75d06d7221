"""What a signal means: pure decisions. Flows and the receiver observe, ask here, and act.

`on_signal` says what a signal means to an item as it stands. It reads no clock, no database and no network. Where the
gates of a stage lead is `pipeline.outcomes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.model import Choice, Hold, Wait, WaitKind, WorkItem
from pipeline.reaction import Back, Finish, HoldIt, Ignore, Later, Look, Reaction, Record, Resume, Start, Stop
from pipeline.signals import Signal
from pipeline.stages import ROWS, Role, Stage

CI_GATE = "ci_green"

BRANCH_IS_JUDGED = (Stage.REVIEW, Stage.TESTING, Stage.DEPLOY_STAGING, Stage.DEPLOY)
"""Stages at which somebody else's push makes earlier verdicts void."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An item as a signal finds it. `worked` tells whether the agent of this visit has finished."""

    item: WorkItem | None
    wait: Wait | None = None
    worked: bool = False


def on_signal(standing: Standing, signal: Signal, payload: Mapping[str, Any]) -> Reaction:
    """What `signal` means to the item just now. Total: every signal has a reaction at every stage.

    A pressed button says in the payload what it was `about`; it counts for exactly that, and is answered on the spot.
    """
    reaction = _on_signal(standing, signal, payload)
    about = payload.get("about")
    if not isinstance(about, Mapping):
        return reaction
    if isinstance(reaction, Record) and standing.item is not None and _asked(standing.item, reaction) == dict(about):
        return reaction
    return Ignore("The button was about something else than what is asked now.")


def _asked(item: WorkItem, record: Record) -> dict[str, object]:
    """What a decision would be about, as a button has it."""
    return {
        "item": item.id, "stage": item.stage, "visit": item.visit, "kind": record.kind, "commit": record.commit,
    }  # fmt: skip


def _on_signal(standing: Standing, signal: Signal, payload: Mapping[str, Any]) -> Reaction:
    item = standing.item
    if item is None:
        if signal is Signal.START_REQUESTED:
            return Start()
        return Ignore("There is no such work item.", tell=False)
    if item.stage.terminal:
        return _ended(item, signal)
    if item.cancel_requested_at is not None and signal is not Signal.STOP_REQUESTED:
        return Ignore(f"{item.key} is being stopped.")
    if item.hold is not None and signal in (Signal.PUSHED, Signal.CI_FINISHED):
        return Ignore(f"{item.key} is held; `orch retry {item.key}` lets it go on.")
    return _REACTIONS[signal](item, standing, payload)


def _ended(item: WorkItem, signal: Signal) -> Reaction:
    told = signal in (Signal.START_REQUESTED, Signal.APPROVED, Signal.REJECTED, Signal.DEPLOY_CONFIRMED)
    return Ignore(f"{item.key} is {item.stage} already.", tell=told and item.stage is Stage.DONE)


READ_AGAIN = "The issue was moved to To Analyse again. Read it anew: what you asked may be answered there now."
"""What the analyst is told who has asked a question, when a person starts the issue again instead of answering."""


def _start(item: WorkItem, standing: Standing, _payload: Mapping[str, Any]) -> Reaction:
    wait = standing.wait
    if item.stage is not Stage.ANALYSIS:
        return Ignore(f"{item.key} is past analysis already, at {item.stage}; nothing was started.", tell=True)
    if item.hold is not None:
        return Resume("A person moved it to To Analyse again.")
    if wait is not None and wait.kind is WaitKind.ANSWER:
        return Record(WaitKind.ANSWER, Choice.ANSWER, wait.commit or "", READ_AGAIN)
    if wait is not None and wait.kind.human:
        return Ignore(f"{item.key} is analysed, and waits for a person: {wait.sentence}", tell=True)
    return Ignore(f"{item.key} is being analysed already.")


def _approval(item: WorkItem, standing: Standing, payload: Mapping[str, Any], choice: Choice) -> Reaction:
    text, wait = str(payload.get("text", "")), standing.wait
    if wait is not None and wait.commit and _answers(wait, payload, choice):
        return Record(wait.kind, choice, wait.commit, text)
    if item.stage is Stage.ANALYSIS and standing.worked and item.tip and item.hold is None:
        return Record(WaitKind.APPROVAL, choice, item.tip, text)
    return Ignore(f"Nothing about {item.key} waits for an approval now (it is at {item.stage}).", tell=True)


def _answers(wait: Wait, payload: Mapping[str, Any], choice: Choice) -> bool:
    """A card's state approves the analysis alone; who names the gate that asks may decide about other things, too.

    There is no no to a budget: the item waits until somebody lets it go on, or stops it.
    """
    if wait.kind is WaitKind.BUDGET and choice is not Choice.APPROVE:
        return False
    named = bool(payload.get("names_the_gate"))
    return wait.kind is WaitKind.APPROVAL or (wait.kind in (WaitKind.INTEGRITY, WaitKind.BUDGET) and named)


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
    if standing.wait is not None and standing.wait.kind is WaitKind.INTEGRITY:
        return _accepted(standing.wait, text)
    if standing.wait is not None and standing.wait.kind is WaitKind.BUDGET:
        return _gone_on(standing.wait, text)
    if standing.wait is None or standing.wait.kind is not WaitKind.ANSWER:
        return Ignore(f"{item.key} has asked nothing.")
    if not text:
        return Ignore("The answer is empty.")
    return Record(WaitKind.ANSWER, Choice.ANSWER, standing.wait.commit or "", text)


ACCEPTING: Mapping[str, Choice] = {"accept": Choice.APPROVE, "reject": Choice.REJECT}
"""How a comment about integrity findings begins."""


def _accepted(wait: Wait, text: str) -> Reaction:
    word, _, rest = text.partition(" ")
    choice = ACCEPTING.get(word.strip(".,:;!").casefold())
    if choice is None or not wait.commit:
        return Ignore("A comment decides about the findings when its first word is accept or reject.")
    return Record(WaitKind.INTEGRITY, choice, wait.commit, rest.strip())


GO_ON = ("go on", "continue", "продолжай", "продолжить")
"""What a comment about a used-up budget consists of."""


def _gone_on(wait: Wait, text: str) -> Reaction:
    if text.strip(" .,:;!").casefold() not in GO_ON or not wait.commit:
        return Ignore("A comment lets an item go on beyond its budget when it says: go on.")
    return Record(WaitKind.BUDGET, Choice.APPROVE, wait.commit)


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
    if item.stage not in (Stage.DEVELOPMENT, *BRANCH_IS_JUDGED) or item.landed is not None:
        return Ignore(f"{item.key} is at {item.stage}: there is nothing to take back.")
    who = payload.get("reviewer") or "A person"
    if payload.get("official") is not True:
        return Ignore(f"{who} requested changes, but that verdict is not official or stands no more.")
    if item.hold is not None:
        return Later(
            f"{item.key} is held; `orch retry {item.key}` lets it go on, and what {who} requested counts then."
        )
    why = f"{who} requested changes on the pull request."
    return Back(Stage.DEVELOPMENT, why, spend=Role.DEVELOPER, text=str(payload.get("text") or ""))


def _merged(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    if item.landed is not None:
        return Ignore("Orch landed it itself.")
    who = payload.get("merged_by") or "somebody"
    if item.stage is Stage.DEPLOY:
        return Look(f"{who} merged the pull request; the deploy goes on and is verified all the same.")
    return Finish(f"{who} merged the pull request while {item.key} was at {item.stage}; Orch has not validated it.")


def _closed(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    if item.landed is not None:
        return Ignore("Its change has landed.")
    if payload.get("number", item.pull_number) != item.pull_number:
        return Ignore(f"Pull request #{payload['number']} is not that of {item.key}.")
    who = payload.get("closed_by") or "Somebody"
    return HoldIt(f"{who} closed the pull request without merging it.", Hold.NEEDS_INPUT)


def _card_closed(item: WorkItem, _standing: Standing, payload: Mapping[str, Any]) -> Reaction:
    """A person's drag to where work ends says neither that the work may be thrown away nor that it has landed."""
    state = payload.get("state_name") or "a state in which work ends"
    if item.cancel_requested_at is not None:
        return Ignore(f"{item.key} is being stopped.")
    if item.landed is not None:
        return Ignore(f"{item.key} has landed; Orch goes on to watch production and ends it itself.", tell=True)
    if item.hold is not None:
        return Ignore(
            f"{item.key} is held already; `orch retry {item.key}` lets it go on, `orch stop {item.key}` ends it.",
            tell=True,
        )
    return HoldIt(
        f"Its card was moved to {state} by hand, but nothing has landed. `orch retry {item.key}` lets it go on, "
        f"`orch stop {item.key}` ends it.",
        Hold.NEEDS_INPUT,
    )


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
    Signal.CARD_CLOSED: _card_closed,
}


def may_wait_for_ci(item: WorkItem) -> bool:
    """Whether a run of the item's stage may be about to wait for CI; at any other stage CI tells nothing."""
    return item.stage in ROWS and CI_GATE in ROWS[item.stage].gates


def held_because(item: WorkItem) -> str | None:
    """Why no stage of the item may run now; None when one may."""
    if item.cancel_requested_at is not None:
        return f"{item.key} is being stopped."
    if item.stage.terminal:
        return f"{item.key} is {item.stage}."
    if item.hold is Hold.ESCALATED:
        return f"{item.key} is escalated: {item.hold_reason} `orch retry {item.key}` lets it go on."
    if item.hold is Hold.NEEDS_INPUT:
        return f"{item.key} needs a person: {item.hold_reason} `orch retry {item.key}` lets it go on."
    if item.hold is Hold.BLOCKED:
        return f"{item.key} is blocked: {item.hold_reason} `orch retry {item.key}` lets it go on."
    return None
