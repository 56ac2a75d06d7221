"""Does a change weaken its own checks? Pure analysis of a git diff; docs/change-integrity.md says what it can see."""

from pipeline.integrity.analyse import analyse
from pipeline.integrity.changes import UnreadableDiff
from pipeline.integrity.findings import Finding, FindingKind

__all__ = ["Finding", "FindingKind", "UnreadableDiff", "analyse"]
