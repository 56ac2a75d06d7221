"""Real processes: small shell and Python children under a real supervisor."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deployments.processes import NEVER, Child, Restarts, Supervisor
from pipeline.errors import CouldNotRun

ENVIRONMENT = {"PATH": os.environ["PATH"]}
TENTHS = 100


def shell(name: str, script: str, **more: object) -> Child:
    return Child(name, ("sh", "-c", script), ENVIRONMENT, **more)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    for _ in range(TENTHS):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def log_of(logs: Path, name: str) -> str:
    path = logs / f"{name}.log"
    return path.read_text() if path.exists() else ""


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def pid_in(logs: Path, name: str) -> int:
    await until(lambda: log_of(logs, name).endswith("\n"))
    return int(log_of(logs, name).split()[-1])


async def test_output_goes_to_a_file_and_with_the_name_in_front_to_the_terminal(tmp_path: Path):
    terminal = io.StringIO()
    async with Supervisor(tmp_path, terminal=terminal) as supervisor:
        await supervisor.start(shell("web", "echo one; echo two >&2; printf three; exec sleep 60"))
        await until(lambda: "two" in log_of(tmp_path, "web"))
    assert log_of(tmp_path, "web") == "one\ntwo\nthree\n"
    assert terminal.getvalue() == "web        | one\nweb        | two\nweb        | three\n"


async def test_output_that_is_neither_utf8_nor_ends_a_line_is_written_all_the_same(tmp_path: Path):
    noise = "import sys; sys.stdout.buffer.write(b'\\xff' * 200_000); sys.stdout.flush(); import time; time.sleep(60)"
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(Child("noise", (sys.executable, "-c", noise), ENVIRONMENT))
        await until(lambda: len(log_of(tmp_path, "noise")) > 100_000)


async def test_a_child_sees_only_the_environment_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCH_PLANE_TOKEN", "secret")
    child = Child("env", ("sh", "-c", "env; exec sleep 60"), ENVIRONMENT | {"GIVEN": "yes"})
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(child)
        await until(lambda: "GIVEN=yes" in log_of(tmp_path, "env"))
    assert "secret" not in log_of(tmp_path, "env")


async def test_start_returns_when_the_child_is_ready(tmp_path: Path):
    async def ready() -> None:
        await until(lambda: "listening" in log_of(tmp_path, "slow"))

    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("slow", "sleep 0.3; echo listening; exec sleep 60", ready=ready))
        assert log_of(tmp_path, "slow") == "listening\n"


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_child_that_is_not_ready_in_time_is_reported_with_its_last_words_and_their_place(tmp_path: Path):
    with pytest.raises(CouldNotRun, match=r"web was not ready within 0\.5 s") as failure:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(shell("web", "echo loading; exec sleep 60", ready=never, ready_within_s=0.5))
    assert "loading" in str(failure.value)
    assert str(tmp_path / "web.log") in str(failure.value)


async def test_a_child_that_ends_before_it_is_ready_is_reported_at_once(tmp_path: Path):
    with pytest.raises(CouldNotRun, match=r"web ended \(exit code 3\) before it was ready") as failure:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(shell("web", "echo no such table; exit 3", ready=never))
    assert "no such table" in str(failure.value)


async def test_a_program_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CouldNotRun, match="ghost cannot be started"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(Child("ghost", ("/no/such/program",), ENVIRONMENT))


async def test_a_child_that_dies_is_started_again(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("web", "echo $$; exec sleep 60", restarts=Restarts(delays_s=(0,))))
        first = await pid_in(tmp_path, "web")
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(log_of(tmp_path, "web").splitlines()) == 3)
        second = await pid_in(tmp_path, "web")
        assert second != first
        assert runs(second)
    assert "orch: ended by itself (SIGKILL); starting it again in 0 s" in log_of(tmp_path, "web")
    assert not runs(second)


async def test_what_a_dead_child_leaves_is_mended_before_it_is_started_again(tmp_path: Path):
    seen: list[str] = []

    async def mend() -> None:
        seen.append(log_of(tmp_path, "web"))
        raise RuntimeError("not today")

    async with Supervisor(tmp_path) as supervisor:
        web = shell("web", "echo $$; exec sleep 60", restarts=Restarts(delays_s=(0,)), before_restart=mend)
        await supervisor.start(web)
        first = await pid_in(tmp_path, "web")
        assert seen == []
        os.kill(first, signal.SIGKILL)
        await until(lambda: log_of(tmp_path, "web").split("\n")[-2].isdigit() and seen)
        assert await pid_in(tmp_path, "web") != first
    assert seen[0].startswith(f"{first}\n")
    assert "could not be cleaned up after: RuntimeError('not today')" in log_of(tmp_path, "web")


async def test_a_child_that_dies_too_often_ends_everything_with_one_sentence(tmp_path: Path):
    async def supervise() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(shell("other", "echo $$; exec sleep 60"))
            await pid_in(tmp_path, "other")
            await supervisor.start(shell("web", "exit 1", restarts=Restarts(delays_s=(0, 0))))
            await supervisor.wait()

    with pytest.raises(CouldNotRun, match=r"web ended by itself \(exit code 1\) and was started again 2 times"):
        await supervise()
    assert not runs(await pid_in(tmp_path, "other"))


async def test_deaths_that_are_long_ago_do_not_count(tmp_path: Path):
    hours = iter(range(0, 3600 * 1000, 3600))
    async with Supervisor(tmp_path, clock=lambda: next(hours)) as supervisor:
        await supervisor.start(shell("web", "echo died", restarts=Restarts(delays_s=(0,), within_s=60)))
        await until(lambda: log_of(tmp_path, "web").count("died") > 3)


async def test_the_death_of_an_earlier_child_ends_the_start_of_a_later_one(tmp_path: Path):
    async def supervise() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(shell("first", "sleep 0.2", restarts=NEVER))
            await supervisor.start(shell("second", "exec sleep 60", ready=never))

    with pytest.raises(CouldNotRun, match="first ended by itself"):
        await supervise()


async def test_children_are_stopped_in_the_reverse_order_of_their_start(tmp_path: Path):
    order = tmp_path / "order"
    last_words = f"trap 'echo NAME >> {order}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    async with Supervisor(tmp_path) as supervisor:
        for name in ("one", "two", "three"):
            await supervisor.start(shell(name, last_words.replace("NAME", name)))
            await until(lambda name=name: "up" in log_of(tmp_path, name))
    assert order.read_text().split() == ["three", "two", "one"]


async def test_a_child_that_ignores_term_is_killed_with_all_its_family(tmp_path: Path):
    stubborn = "trap '' TERM; setsid sh -c 'echo $$; exec sleep 60' & wait; sleep 60"
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("deaf", stubborn, grace_s=0.2))
        in_a_session_of_its_own = await pid_in(tmp_path, "deaf")
        assert os.getsid(in_a_session_of_its_own) == in_a_session_of_its_own
    assert not runs(in_a_session_of_its_own)


async def test_what_a_dead_child_has_left_goes_on_and_is_ended_with_the_rest(tmp_path: Path):
    run = "env -i sleep 60 & echo $$ $!; wait"
    worker = f"[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; setsid sh -c '{run}' & }}; exec sleep 60"
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("worker", worker, restarts=Restarts(delays_s=(0,))))
        await pid_in(tmp_path, "worker")
        left = [int(pid) for pid in log_of(tmp_path, "worker").split()]
        psutil.Process(left[0]).parent().kill()  # type: ignore[union-attr]
        await until(lambda: "starting it again" in log_of(tmp_path, "worker"))
        await supervisor.start(shell("later", "echo $$; exec sleep 60"))
        await pid_in(tmp_path, "later")
        assert [runs(pid) for pid in left] == [True, True]
    assert [runs(pid) for pid in left] == [False, False]


async def test_a_process_started_by_a_double_fork_with_its_own_environment_survives(tmp_path: Path):
    detach = "env -i PATH=$PATH setsid sh -c '(echo $$; exec sleep 60) &' ; exec sleep 60"
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("hook", detach.replace("$$", '$(exec sh -c "echo \\$PPID")')))
        hook = await pid_in(tmp_path, "hook")
        await until(
            lambda: psutil.Process(hook).ppid() not in [p.pid for p in psutil.Process().children(recursive=True)]
        )
    survives = runs(hook)
    os.kill(hook, signal.SIGKILL)
    assert survives


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_leaves_the_block_quietly_with_everything_stopped(tmp_path: Path, number: signal.Signals):
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("web", "echo $$; exec sleep 60"))
        web = await pid_in(tmp_path, "web")
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        await supervisor.wait()
    assert supervisor.stopped_by == number
    assert not runs(web)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_signal_ends_a_start_that_would_never_be_ready(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGTERM)
        await supervisor.start(shell("web", "echo $$; exec sleep 60", ready=never))
    assert supervisor.stopped_by == signal.SIGTERM
    assert not runs(await pid_in(tmp_path, "web"))


async def test_a_second_signal_does_not_wait_for_the_grace(tmp_path: Path):
    loop = asyncio.get_running_loop()
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(shell("deaf", "trap '' TERM; echo $$; while :; do sleep 1; done", grace_s=600))
        deaf = await pid_in(tmp_path, "deaf")
        loop.call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        loop.call_later(0.3, os.kill, os.getpid(), signal.SIGINT)
        await supervisor.wait()
    assert not runs(deaf)


async def test_a_cancellation_from_elsewhere_stops_everything_and_comes_through(tmp_path: Path):
    async def work() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(shell("web", "echo $$; exec sleep 60"))
            await supervisor.wait()

    task = asyncio.create_task(work())
    web = await pid_in(tmp_path, "web")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(web)


async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path):
    program = f"""
import asyncio, pathlib
from deployments.processes import Child, Supervisor

async def main():
    async with Supervisor(pathlib.Path({str(tmp_path)!r})) as supervisor:
        await supervisor.start(Child("web", ("sh", "-c", "echo $$; exec sleep 60"), {ENVIRONMENT!r}))
        await supervisor.wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    web = await pid_in(tmp_path, "web")
    process.kill()
    await process.wait()
    await until(lambda: not runs(web))
