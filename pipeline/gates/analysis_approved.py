"""Analysis: a person agreed to exactly the analysis that is on the branch."""

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import quote, short
from pipeline.model import Choice, Decision, Fail, GateResult, Pass, Pending, WaitKind
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """The latest approval or rejection of the branch's tip; a decision about another commit does not count."""
    decisions = [
        d for d in look.decisions if d.kind is WaitKind.APPROVAL and d.choice in (Choice.APPROVE, Choice.REJECT)
    ]
    about_tip = [d for d in decisions if d.commit == look.tip]
    if about_tip:
        return _decided(about_tip[-1])
    sentence = f"A person must approve the analysis at {short(look.tip)}."
    if decisions:
        sentence += f" {_does_not_count(decisions[-1])}"
    return Pending(sentence, WaitKind.APPROVAL, commit=look.tip)


def _decided(decision: Decision) -> GateResult:
    if decision.choice is Choice.APPROVE:
        return Pass(f"{decision.actor} approved the analysis at {short(decision.commit)}.", commit=decision.commit)
    said = quote(decision.text)
    reason = f": {said}" if said else ", without giving a reason."
    return Fail(
        f"{decision.actor} rejected the analysis at {short(decision.commit)}{reason}",
        commit=decision.commit,
        text=decision.text,
    )


def _does_not_count(decision: Decision) -> str:
    done = "approval" if decision.choice is Choice.APPROVE else "rejection"
    return f"{decision.actor}'s {done} was about another commit, {short(decision.commit)}, and does not count."


GATE = Gate(
    name="analysis_approved",
    stage=Stage.ANALYSIS,
    ask=ask,
    asked_again_by="a person's approval or rejection",
)
