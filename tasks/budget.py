"""How many requests Orch makes to Plane: one budget a token, shared by all processes through Prefect."""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

log = logging.getLogger("orch.budget")

LIMIT = "plane-api"
"""Prefect's global concurrency limit of the shared token; a role's bot has `plane-api-<role>`."""

ASK_AT_MOST_S = 5.0
"""Prefect's server has so long to answer; a request does not wait for it any longer."""

WAIT_AT_MOST_S = 60.0
"""A request whose turn has not come by then is made all the same: Plane itself says 429 when it is too much."""

UNASKED_S = 30.0
"""For so long Prefect's server is not asked again after it did not answer."""


def limit_of(voice: str) -> str:
    """The limit's name for the token of `voice`, "" being the shared one."""
    return f"{LIMIT}-{voice}" if voice else LIMIT


class Budget:
    """Lets requests through at the rate of the limits that `orch up` makes.

    It is a courtesy, not a gate: work is never held up for good. A limit that is not there or switched off lets
    everything through, and so does a Prefect server that is not there; what Plane then refuses with 429 is tried again
    when Plane says. Prefect's own `rate_limit` is not used, because it writes an event for each request and waits for a
    server that does not answer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._unasked_until = 0.0

    async def admit(self, voice: str) -> None:
        """Return when a request with the token of `voice` may be made. Never raises for what Prefect does."""
        give_up = self._clock() + WAIT_AT_MOST_S
        while self._clock() >= self._unasked_until:
            pause = await self._pause(limit_of(voice))
            if pause is None:
                return
            if self._clock() + pause > give_up:
                log.info("the budget %s is used up; Plane is asked all the same", limit_of(voice))
                return
            await asyncio.sleep(pause)

    async def _pause(self, name: str) -> float | None:
        """Seconds until the limit may have a slot; None when it had one, or when nobody can tell."""
        try:
            async with asyncio.timeout(ASK_AT_MOST_S), get_client() as client:
                await client.increment_concurrency_slots([name], 1, "rate_limit")
        except PrefectHTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:
                return float(error.response.headers.get("Retry-After", 1))
            log.warning("the budget %s cannot be asked: %s", name, error.response.status_code)
        except (httpx.HTTPError, TimeoutError) as error:
            self._unasked_until = self._clock() + UNASKED_S
            log.warning("Prefect's server does not keep the budget %s now: %s", name, type(error).__name__)
        return None
