"""Stands, hooks and probes."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Stand(StrEnum):
    """Where a project runs."""

    STAGING = "staging"
    PRODUCTION = "production"


class Hook(StrEnum):
    """What a project's own commands do to a stand."""

    STAGE = "staging deploy"
    CHECK = "staging check"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class HookEnd(StrEnum):
    """How a hook or check ended. Only `REFUSED` is a verdict about the change."""

    DONE = "done"
    REFUSED = "refused"
    COULD_NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True)
class HookRun:
    """One run of a hook. `output` is the end of what it printed; `exit_code` is None when it did not end by itself."""

    end: HookEnd
    exit_code: int | None
    sentence: str
    duration_s: float
    output: str
    log: Path


class Health(StrEnum):
    """What a probe says of a running service. `INCONCLUSIVE`: the probe could not tell, which is nobody's fault yet."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Probed:
    """One look at a running service; `revision` is what it says that it runs."""

    health: Health
    revision: str | None
    sentence: str
