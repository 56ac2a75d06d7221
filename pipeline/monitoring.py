"""What a series of looks at production means: pure."""

from collections.abc import Sequence
from enum import StrEnum

from pipeline.model import Health, Probed


class Watched(StrEnum):
    """What the looks so far amount to."""

    WATCHING = "watching"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    INCONCLUSIVE = "inconclusive"


def judge(seen: Sequence[Probed], *, failures: int, over: bool) -> Watched:
    """Degraded after `failures` unhealthy looks in a row; otherwise nothing is decided before the window is `over`.

    A look that could not tell neither counts nor breaks a row. A window that ends within a row of unhealthy looks is
    watched on until the row is long enough or broken.
    """
    telling = [probed.health for probed in seen if probed.health is not Health.INCONCLUSIVE]
    row = next((n for n, health in enumerate(reversed(telling)) if health is Health.HEALTHY), len(telling))
    if row >= failures:
        return Watched.DEGRADED
    if not over or row:
        return Watched.WATCHING
    return Watched.HEALTHY if telling else Watched.INCONCLUSIVE
