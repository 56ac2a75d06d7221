"""What a look at the set-up finds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST = 100
"""Exit codes end at 255, and those above 125 mean something to shells."""


class Grade(StrEnum):
    """How good a thing is. Only what is `missing` counts."""

    OK = "ok"
    LESS = "less"
    """Works, but less well than it could."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `about` names it, `next_step` says what to do unless it is as it should be."""

    about: str
    grade: Grade
    sentence: str
    next_step: str = ""


def fine(about: str, sentence: str) -> Finding:
    """It is as it should be."""
    return Finding(about, Grade.OK, sentence)


def less(about: str, sentence: str, next_step: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(about, Grade.LESS, sentence, next_step)


def missing(about: str, sentence: str, next_step: str) -> Finding:
    """It is not there, or does not work."""
    return Finding(about, Grade.MISSING, sentence, next_step)


def count_missing(findings: Iterable[Finding]) -> int:
    """How many are missing."""
    return sum(finding.grade is Grade.MISSING for finding in findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """The same as an exit code."""
    return min(count_missing(findings), MOST)
