"""How outside steps are retried: only what is transient, never a verdict and never a refusal."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from pipeline.errors import CouldNotRun, Unavailable

RETRIES = 3
DELAYS: list[float] = [2, 10, 30]


CHECK_DELAYS: list[float] = [2, 10]


async def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task may succeed when it is simply run again."""
    return await _failed_with(state, Unavailable)


async def transient_or_could_not_run(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """The same for a project's own command, which may find on the second try what it lacked."""
    return await _failed_with(state, Unavailable, CouldNotRun)


async def _failed_with(state: State[Any], *errors: type[Exception]) -> bool:
    try:
        await state.aresult()
    except errors:
        return True
    except BaseException:  # noqa: BLE001  any other failure, whatever its type, is not ours to repeat
        return False
    return False
