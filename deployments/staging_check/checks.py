"""The ten checks in their order. None needs another to have passed, except that the clean-up comes last."""

from collections.abc import Callable

from deployments.staging_check.check import Check
from deployments.staging_check.clean_up import clean_up
from deployments.staging_check.database import database
from deployments.staging_check.health import health
from deployments.staging_check.registered import automations, deployments, limits, prefect
from deployments.staging_check.staging import Staging
from deployments.staging_check.start import start
from deployments.staging_check.webhooks import signed, unsigned

MARGIN_S = 60
"""What a check whose waiting has a deadline of its own may take besides."""

CLEAN_UP_S = 180


def _seconds(limit: float) -> Callable[[Staging], float]:
    return lambda _staging: limit


CHECKS: tuple[Check, ...] = (
    Check("health", health, _seconds(60)),
    Check("database", database, _seconds(20)),
    Check("prefect", prefect, _seconds(10)),
    Check("automations", automations, _seconds(30)),
    Check("deployments", deployments, _seconds(30)),
    Check("limits", limits, _seconds(30)),
    Check("signed_webhook", signed, _seconds(20)),
    Check("unsigned_refused", unsigned, _seconds(20)),
    Check("start", start, lambda staging: staging.start_within_s + MARGIN_S),
    Check("clean_up", clean_up, _seconds(CLEAN_UP_S)),
)
