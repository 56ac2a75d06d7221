"""How outside steps are retried: only what is transient, never a verdict and never a refusal."""

import asyncio
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from pipeline.errors import CouldNotRun, Unavailable

RETRIES = 3
DELAYS: list[float] = [2, 10, 30]


CHECK_DELAYS: list[float] = [2, 10]

PATIENCE_S = 90.0
"""A system that asks for more time than this is not waited for here: the run ends, and its stage is tried again later.

Plane's rate limit, the usual reason, is counted by the minute.
"""


async def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task may succeed when it is simply run again; returns once the system may be asked again."""
    return await _failed_with(state, Unavailable)


async def transient_or_could_not_run(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """The same for a project's own command, which may find on the second try what it lacked."""
    return await _failed_with(state, Unavailable, CouldNotRun)


async def _failed_with(state: State[Any], *errors: type[Exception]) -> bool:
    try:
        await state.aresult()
    except errors as error:
        return await _waited_for(error)
    except BaseException:  # noqa: BLE001  any other failure, whatever its type, is not ours to repeat
        return False
    return False


async def _waited_for(error: Exception) -> bool:
    """Wait as long as the system said, on top of the fixed delays; False when that is too long to sit out."""
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    if retry_after is None:
        return True
    if retry_after > PATIENCE_S:
        return False
    await asyncio.sleep(retry_after)
    return True
