"""What a gate answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.model.work_items import WaitKind


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
