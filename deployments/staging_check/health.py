"""Check 1: the receiver answers, and the reconciler's tick is alive."""

import asyncio
import time
from datetime import datetime

import httpx
from pydantic import BaseModel

from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.receiver import ask, said
from deployments.staging_check.staging import Staging
from pipeline.errors import CouldNotRun, OrchError, SettingsError

FIRST_TICK_S = 45
"""How long an Orch that was started just now is given for its first tick, which is due within 30 s."""

LOOK_S = 1.0

STAGING = "staging"


class Health(BaseModel):
    """What `/healthz` tells."""

    stand: str
    last_tick: datetime | None
    reconciler: str


async def refuse_production(staging: Staging) -> None:
    """Raise `SettingsError` when the running Orch says that it is no staging stand, whatever our settings say.

    One that does not answer is left to the first check.
    """
    try:
        told = await read_health(staging)
    except OrchError:
        return
    if told.stand != STAGING:
        raise SettingsError(
            f"The Orch at {staging.settings.host}:{staging.settings.port} says that it is {told.stand}: nothing was"
            " checked. Point the settings to the staging stand, or start that with ORCH_STAND=staging."
        )


async def health(staging: Staging) -> Finding:
    """The receiver is up, its database answers, and the last tick is not late."""
    told, patience = await read_health(staging), time.monotonic() + FIRST_TICK_S
    while told.last_tick is None and time.monotonic() < patience:
        await asyncio.sleep(LOOK_S)
        told = await read_health(staging)
    if told.reconciler == "ok":
        return fine(f"The receiver answers, and the reconciler ticked at {told.last_tick:%H:%M:%S} UTC.")
    last = f"its last tick was at {told.last_tick:%Y-%m-%d %H:%M:%S} UTC" if told.last_tick else "it never ticked"
    return wrong(
        f"The reconciler is late ({last}): see that the control worker runs, that neither the pool orch-control nor the"
        " deployment reconcile is paused, and that ORCH_RECONCILE_ENABLED is not off."
    )


async def read_health(staging: Staging) -> Health:
    """What `/healthz` tells. Raises `Unavailable` or `CouldNotRun`."""
    answer = await ask(staging, "GET", "/healthz")
    try:
        return Health.model_validate(answer.raise_for_status().json())
    except (httpx.HTTPStatusError, ValueError) as error:
        raise CouldNotRun(
            f"/healthz answers {answer.status_code} ({said(answer)}): something else listens there, or the running Orch"
            " is ill; see receiver.log in its state folder."
        ) from error
