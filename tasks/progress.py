"""How far a long step has come, on the page of its run in Prefect: the share of its time limit that has passed."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import PrefectHTTPStatusError

log = logging.getLogger("orch.progress")

LONG_S = 15.0
"""A step that ends sooner shows none."""

AGAIN_S = 30.0
"""How often it is brought up to date."""


@asynccontextmanager
async def shown(what: str, limit_s: float) -> AsyncIterator[None]:
    """Show `what` while the body works. Never raises for what Prefect does: a page without it is no harm."""
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        yield  # nobody's run
        return
    showing = asyncio.create_task(_show(what, limit_s))
    try:
        yield
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


async def _show(what: str, limit_s: float) -> None:
    loop = asyncio.get_running_loop()
    began, made = loop.time(), None
    await asyncio.sleep(LONG_S)
    try:
        while True:
            made = await _bring(made, what, min(99.0, 100 * (loop.time() - began) / limit_s))
            await asyncio.sleep(AGAIN_S)
    except asyncio.CancelledError:
        if made is not None:
            await _bring(made, what, 100.0)
        raise


async def _bring(made: UUID | None, what: str, percent: float) -> UUID | None:
    about = f"{what}: time used of its limit"
    try:
        if made is None:
            return await acreate_progress_artifact(percent, description=about)
        await aupdate_progress_artifact(made, progress=percent, description=about)
    except (httpx.HTTPError, PrefectHTTPStatusError, ValueError) as error:
        log.info("the progress of %s could not be shown: %r", what, error)
    return made
