"""The command itself: settings in, ten lines or one JSON object out, and the exit code."""

import asyncio
import json
import secrets
import signal

from rich.console import Console

from deployments.staging_check.checks import CHECKS
from deployments.staging_check.health import refuse_production
from deployments.staging_check.mode import Mode
from deployments.staging_check.report import as_json as json_of
from deployments.staging_check.report import failed, line
from deployments.staging_check.runner import run
from deployments.staging_check.staging import staging_of
from pipeline.settings import Settings

REFUSED = 11
"""The exit code when nothing was checked: no staging stand, or settings are missing. Ten checks can fail at most."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it, and after SIGTERM; what was created is cleaned up all the same."""


async def staging_check(mode: Mode, *, as_json: bool) -> int:
    """Check the stand that the settings name; the number of failed checks. Raises `SettingsError` before any check."""
    staging = staging_of(Settings(), mode, mark=secrets.token_hex(4))
    await refuse_production(staging)
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    work = asyncio.create_task(run(CHECKS, staging, tell=lambda result: console.print(line(result))))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    try:
        results = await work
    except asyncio.CancelledError:
        console.print("Interrupted.")
        return INTERRUPTED
    if as_json:
        print(json.dumps(json_of(mode, results)))  # noqa: T201  this is the output
    return failed(results)
