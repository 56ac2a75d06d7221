"""Where a stage's gate answers lead: pure. Flows observe, ask here, and act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.model import Answer, Found, GateResult, WaitKind, WorkItem
from pipeline.stages import ROWS, Role, Stage


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

    A red gate spends one attempt of `role`; without a role nothing was judged and nothing is spent. `found` is what
    somebody else has pushed: it is taken over in the very write that takes the item back.
    """

    to: Stage
    role: Role | None
    why: str
    feedback: str
    found: Found | None = None


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


@dataclass(frozen=True, slots=True)
class Block:
    """What has landed cannot go back: the item is held where it stands, and a person is told.

    `degraded`: because production is not well, which people are told in other words.
    """

    why: str
    degraded: bool = False


Outcome = Advance | RollBack | Escalate | Ask | WaitFor | Block


def decisive(answers: Sequence[Answered]) -> Answered | None:
    """The first answer that keeps the item from going on."""
    return next((a for a in answers if a.result.answer in (Answer.FAIL, Answer.PENDING)), None)


def on_gates(item: WorkItem, answers: Sequence[Answered], *, cap: Mapping[Role, int]) -> Outcome:
    """Where the answers of the stage's gates, in order and up to the first that is not green, lead.

    A verdict about another commit has its own role look again, at the cost of one of that role's attempts.
    """
    row = ROWS[item.stage]
    first = decisive(answers)
    if first is None:
        return Advance(row.to, "; ".join(f"{a.gate}: {a.result.sentence}" for a in answers))
    result = first.result
    if result.answer is Answer.FAIL and item.landed is not None:
        return Block(f"{first.gate}: {result.sentence}")
    if result.answer is Answer.FAIL:
        said = str(result.evidence.get("text") or "")
        return roll_back(item, row.back_to, f"{first.gate}: {result.sentence}", cap=cap, said=said)
    if result.waits_for is None:
        raise ValueError(f"gate {first.gate} is pending and does not say what for")
    if result.waits_for is WaitKind.VERDICT:
        return roll_back(item, item.stage, f"{first.gate}: {result.sentence}", cap=cap)
    if result.waits_for.human:
        return Ask(result.waits_for, result.sentence, result.commit or item.tip or "")
    return WaitFor(result.waits_for, result.sentence, result.commit)


def roll_back(item: WorkItem, to: Stage, why: str, *, cap: Mapping[Role, int], said: str = "") -> RollBack | Escalate:
    """One way back to `to`, or escalation when its role has had all its attempts.

    What a person has `said` goes whole to that role, however little of it `why` has.
    """
    role = ROWS[to].role
    spent = item.attempts_of(role)
    if spent >= cap[role]:
        return Escalate(f"{why} This was the {role}'s attempt {spent + 1} of {cap[role] + 1}; a person has to look.")
    return RollBack(to, role, why, feedback=why if said in why else f"{why}\n\n{said}")
