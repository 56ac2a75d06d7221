"""How outside steps are retried: only what is transient, never a verdict and never a refusal."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from pipeline.errors import Unavailable

RETRIES = 3
DELAYS: list[float] = [2, 10, 30]


async def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task may succeed when it is simply run again."""
    try:
        await state.aresult()
    except Unavailable:
        return True
    except BaseException:  # noqa: BLE001  any other failure, whatever its type, is not ours to repeat
        return False
    return False
