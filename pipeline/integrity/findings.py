"""What the analysis can find."""

from dataclasses import dataclass
from enum import StrEnum


class FindingKind(StrEnum):
    """How a change can weaken the checks that are to judge it."""

    TEST_FILE_REMOVED = "test file removed"
    TEST_REMOVED = "test removed"
    TEST_SKIPPED = "test skipped"
    ASSERTION_REMOVED = "assertion removed"
    SELECTION_NARROWED = "test selection narrowed"
    COVERAGE_LOWERED = "coverage threshold lowered"
    COVERAGE_EXCLUDED = "code excluded from coverage"
    CHECK_SILENCED = "check silenced"
    CHECK_LOWERED = "check lowered"
    FAILURE_IGNORED = "failure ignored"
    CI_CHANGED = "CI changed"
    GATE_CHANGED = "gate changed"
    AGENT_CHANGED = "agent instructions changed"
    GUARDED_CHANGED = "guarded file changed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place where a change weakens a check, with one sentence for people.

    `path` and `line` (from 1) are in the new version where the line exists there, else in the old one; a file as a
    whole has line 1.
    """

    path: str
    line: int
    kind: FindingKind
    sentence: str
