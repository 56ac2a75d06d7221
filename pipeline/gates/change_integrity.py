"""Review: the change does not weaken the checks that judge it, or a person accepted that it does, for this head."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import quote, short
from pipeline.integrity import Finding, analyse
from pipeline.model import Choice, Decision, Fail, GateResult, Pass, Pending, WaitKind
from pipeline.stages import Stage

SHOWN = 3
"""How many findings the sentence names; the evidence has more."""
KEPT = 100
"""How many findings the evidence has."""


async def ask(look: Look) -> GateResult:
    """Green without findings, or when a person accepted those of exactly this head; red when a person rejected them.

    Raises `UnreadableDiff`, which is a `CouldNotRun`, when the change cannot be read as a whole.
    """
    diff = await asyncio.to_thread(look.workspace.diff, look.tip)
    findings = await asyncio.to_thread(
        partial(analyse, diff, guarded=look.project.integrity_files + look.project.agent_files)
    )
    if not findings:
        return Pass("The change does not weaken its own checks.", commit=look.head)
    decision = _latest(look)
    if decision is not None:
        return _decided(decision, findings)
    sentence = f"A person must accept or reject {_named(findings)}."
    return Pending(sentence, WaitKind.INTEGRITY, commit=look.head, findings=_evidence(findings))


def _latest(look: Look) -> Decision | None:
    """The last word about the findings of this head."""
    about_head = [
        decision
        for decision in look.decisions
        if decision.kind is WaitKind.INTEGRITY
        and decision.commit == look.head
        and decision.choice in (Choice.APPROVE, Choice.REJECT)
    ]
    return about_head[-1] if about_head else None


def _decided(decision: Decision, findings: Sequence[Finding]) -> GateResult:
    named, evidence = _named(findings), _evidence(findings)
    if decision.choice is Choice.APPROVE:
        sentence = f"{decision.actor} accepted at {short(decision.commit)}: {named}."
        return Pass(sentence, commit=decision.commit, text=decision.text, findings=evidence)
    said = quote(decision.text)
    reason = f": {said} It is about" if said else ", without giving a reason:"
    sentence = f"{decision.actor} rejected the change at {short(decision.commit)}{reason} {named}."
    return Fail(sentence, commit=decision.commit, text=decision.text, findings=evidence)


def _named(findings: Sequence[Finding]) -> str:
    """How many findings there are, and the first ones with their places."""
    first = [f"{quote(finding.path, 80)}:{finding.line} {finding.kind}" for finding in findings[:SHOWN]]
    if len(findings) > SHOWN:
        first.append(f"and {len(findings) - SHOWN} more")
    return f"{len(findings)} finding{'' if len(findings) == 1 else 's'} ({'; '.join(first)})"


def _evidence(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [asdict(finding) | {"kind": finding.kind.value} for finding in findings[:KEPT]]


GATE = Gate(
    name="change_integrity",
    stage=Stage.REVIEW,
    ask=ask,
    asked_again_by="a person's word about the findings, or another head",
)
