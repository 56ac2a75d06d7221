"""Carrying the checks out: one after the other, each within its time, the last one whatever happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from deployments.staging_check.check import Check, Finding, wrong
from deployments.staging_check.staging import Staging
from pipeline.errors import OrchError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a check answered, and the seconds that it took."""

    name: str
    ok: bool
    sentence: str
    seconds: float


async def run(checks: Sequence[Check], staging: Staging, tell: Callable[[Result], None]) -> list[Result]:
    """Carry out every check and tell each result at once. The last one is the clean-up: cancelling does not skip it."""
    results: list[Result] = []
    *looks, clean_up = checks
    try:
        for check in looks:
            results.append(await carry_out(check, staging))
            tell(results[-1])
    finally:
        results.append(await uninterrupted(carry_out(clean_up, staging)))
        tell(results[-1])
    return results


async def carry_out(check: Check, staging: Staging) -> Result:
    """One check's result; whatever goes wrong is a failure of this check alone."""
    begun = time.monotonic()
    found = await _found(check, staging)
    return Result(check.name, found.ok, " ".join(found.sentence.split()), round(time.monotonic() - begun, 2))


async def _found(check: Check, staging: Staging) -> Finding:
    limit = check.within_s(staging)
    try:
        async with asyncio.timeout(limit):
            return await check.look(staging)
    except TimeoutError:
        logs = staging.settings.state_dir / "logs"
        return wrong(f"Nothing came of it within {limit:g} s; look at the running Orch's logs in {logs}.")
    except OrchError as error:
        return wrong(str(error))
    except Exception as error:  # noqa: BLE001  a check that cannot be carried out has failed, and stops no other
        return wrong(f"The check could not be carried out, which is a bug in Orch, please report it: {error!r}")


async def uninterrupted(work: Awaitable[T]) -> T:
    """The end of `work`, which a cancellation meanwhile does not stop: it is raised afterwards. A second one gives up."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
