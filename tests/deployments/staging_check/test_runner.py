"""Every check is carried out and answers with one sentence, the clean-up whatever happens."""

import asyncio
from collections.abc import Callable

import pytest

from deployments.staging_check.check import Check, Finding, Look, fine, wrong
from deployments.staging_check.runner import Result, carry_out, run, uninterrupted
from deployments.staging_check.staging import Staging
from pipeline.errors import CouldNotRun


def check(look: Look, name: str = "one", within_s: float = 5) -> Check:
    return Check(name, look, lambda _staging: within_s)


def answering(finding: Finding) -> Look:
    async def look(_staging: Staging) -> Finding:
        return finding

    return look


def raising(error: Exception) -> Look:
    async def look(_staging: Staging) -> Finding:
        raise error

    return look


async def for_ever(_staging: Staging) -> Finding:
    await asyncio.Event().wait()
    return fine("never")


def gather(told: list[str]) -> Callable[[Result], None]:
    return lambda result: told.append(result.name)


async def test_the_checks_are_carried_out_in_order_and_a_failing_one_stops_none(staging: Staging) -> None:
    told: list[str] = []
    checks = [
        check(answering(fine("good")), "a"),
        check(raising(CouldNotRun("no")), "b"),
        check(raising(ZeroDivisionError("zero")), "c"),
        check(answering(wrong("bad")), "d"),
    ]
    results = await run(checks, staging, gather(told))
    assert told == [result.name for result in results] == ["a", "b", "c", "d"]
    assert [result.ok for result in results] == [True, False, False, False]


async def test_an_error_of_ours_is_its_text_on_one_line(staging: Staging) -> None:
    result = await carry_out(check(raising(CouldNotRun("It is away:\n\tstart it."))), staging)
    assert (result.ok, result.sentence) == (False, "It is away: start it.")


async def test_an_unexpected_error_is_said_to_be_a_bug(staging: Staging) -> None:
    result = await carry_out(check(raising(ZeroDivisionError("zero"))), staging)
    assert result.sentence.endswith("which is a bug in Orch, please report it: ZeroDivisionError('zero')")


async def test_a_check_that_takes_too_long_fails_and_says_where_to_look(staging: Staging) -> None:
    result = await carry_out(check(for_ever, within_s=0.05), staging)
    assert not result.ok
    assert result.sentence == (
        f"Nothing came of it within 0.05 s; look at the running Orch's logs in {staging.settings.state_dir / 'logs'}."
    )
    assert result.seconds >= 0.05


async def test_a_cancelled_run_still_cleans_up_and_skips_the_rest(staging: Staging) -> None:
    told: list[str] = []
    checks = [
        check(for_ever, "a"),
        check(answering(fine("")), "b"),
        check(answering(fine("clean")), "clean_up"),
    ]
    work = asyncio.create_task(run(checks, staging, gather(told)))
    await asyncio.sleep(0.05)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert told == ["clean_up"]


async def test_cancelling_during_the_clean_up_does_not_cut_it_short(staging: Staging) -> None:
    told: list[str] = []
    cleaning, may_end = asyncio.Event(), asyncio.Event()

    async def clean_up(_staging: Staging) -> Finding:
        cleaning.set()
        await may_end.wait()
        return fine("clean")

    work = asyncio.create_task(run([check(clean_up, "clean_up")], staging, gather(told)))
    await cleaning.wait()
    work.cancel()
    await asyncio.sleep(0.05)
    assert not work.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_second_cancellation_gives_up() -> None:
    work = asyncio.create_task(uninterrupted(asyncio.Event().wait()))
    for _ in range(2):
        await asyncio.sleep(0.01)
        work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 5)
