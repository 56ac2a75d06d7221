"""What is run again, and not before the outside system wants to be asked again."""

from types import SimpleNamespace

import pytest
from prefect import Task
from prefect.states import Failed

from pipeline.errors import CouldNotRun, Missing, Refused, Unavailable
from tasks.retry import PATIENCE_S, transient, transient_or_could_not_run


async def asked(error: Exception, *, check: bool = False) -> bool:
    retry = transient_or_could_not_run if check else transient
    return await retry(Task(lambda: None), None, Failed(data=error))  # type: ignore[arg-type]  # the run is not looked at


@pytest.mark.parametrize(
    ("error", "step", "check"),
    [
        (Unavailable("500"), True, True),
        (CouldNotRun("no such program"), False, True),
        (Refused("403"), False, False),
        (Missing("404"), False, False),
        (ValueError("a bug"), False, False),
    ],
)
async def test_only_what_may_pass_is_run_again(error: Exception, step: bool, check: bool) -> None:
    assert (await asked(error), await asked(error, check=True)) == (step, check)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which is slept."""
    made: list[float] = []

    async def nap(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("tasks.retry.asyncio", SimpleNamespace(sleep=nap))
    return made


async def test_a_system_that_says_how_long_to_stay_away_is_left_alone_for_so_long(naps: list[float]) -> None:
    assert await asked(Unavailable("429", retry_after=59))
    assert naps == [59]


async def test_a_system_that_wants_to_be_left_alone_for_long_is_not_waited_for_in_a_worker_slot(
    naps: list[float],
) -> None:
    assert not await asked(Unavailable("429", retry_after=PATIENCE_S + 1))
    assert naps == []
