"""What comes of moving branches and of testing them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
