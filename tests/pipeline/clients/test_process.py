"""Running commands: what they see, how they end, and that nothing of them is left."""

import asyncio
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clients.process import Ended, ProcessEnd, run, run_blocking, safe_environment
from pipeline.clients.process_identity import alive, kill_group
from pipeline.errors import CouldNotRun
from pipeline.model import ProcessIdentity
from tests.support.processes import becomes, exists

SPAWN = multiprocessing.get_context("spawn")


async def shell(tmp_path: Path, script: str, **options: object) -> Ended:
    given: dict[str, object] = {"timeout_s": 30.0, "environment": safe_environment(tmp_path)} | options
    return await run(["/bin/sh", "-c", script], cwd=tmp_path, log=tmp_path / "log", **given)  # type: ignore[arg-type]


async def test_both_streams_go_to_the_log_and_the_exit_code_is_told(tmp_path: Path) -> None:
    ended = await shell(tmp_path, "echo out; echo err >&2; exit 3")
    assert (ended.exit_code, ended.reason) == (3, ProcessEnd.FINISHED)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


async def test_a_command_that_a_signal_ends_is_told_as_a_shell_does(tmp_path: Path) -> None:
    assert (await shell(tmp_path, "kill -SEGV $$")).exit_code == 128 + signal.SIGSEGV


async def test_nothing_of_our_environment_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_SECRET", "swordfish")
    monkeypatch.setenv("LC_TIME", "C")
    await shell(tmp_path, "env", environment=safe_environment(tmp_path / "home", {"MINE": "yes"}))
    seen = dict(line.split("=", 1) for line in (tmp_path / "log").read_text().splitlines())
    assert "ORCH_SECRET" not in seen
    assert (seen["MINE"], seen["HOME"], seen["LC_TIME"]) == ("yes", str(tmp_path / "home"), "C")


async def test_standard_input_is_the_given_file_or_empty(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_text("do it")
    await shell(tmp_path, "cat", stdin=tmp_path / "prompt")
    assert (tmp_path / "log").read_text() == "do it"
    await shell(tmp_path, "cat")
    assert (tmp_path / "log").read_text() == ""


async def test_the_signals_of_a_command_are_at_their_defaults(tmp_path: Path) -> None:
    await shell(tmp_path, "grep SigIgn /proc/self/status")
    ignored = int((tmp_path / "log").read_text().split()[1], 16)
    assert ignored & 0x7FFF_FFFF == 0  # signals 1 to 31; 32 and 33 are the C library's own


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda folder: ["no-such-program"], "no-such-program"),
        (lambda folder: [str(folder / "plain")], "plain"),
        (lambda folder: [str(folder / "broken")], "broken"),
        (lambda folder: [], "no command"),
    ],
)
async def test_a_command_that_cannot_be_started_is_not_a_verdict(
    tmp_path: Path, make: Callable[[Path], list[str]], named: str
) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(CouldNotRun, match=named):
        await run(make(tmp_path), cwd=tmp_path, environment={}, log=tmp_path / "log", timeout_s=30)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CouldNotRun, match="nowhere"):
        await run(["true"], cwd=tmp_path / "nowhere", environment={}, log=tmp_path / "log", timeout_s=30)


async def test_an_exit_code_of_127_is_a_verdict(tmp_path: Path) -> None:
    assert (await shell(tmp_path, "exit 127")).exit_code == 127


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"timeout_s": 1.5}, ProcessEnd.TIMED_OUT),
        ({"timeout_s": 30.0, "idle_timeout_s": 1.5}, ProcessEnd.IDLE),
    ],
)
async def test_a_limit_ends_the_command_and_its_grandchildren(
    tmp_path: Path, limits: dict[str, float], reason: ProcessEnd
) -> None:
    ended = await shell(
        tmp_path, "(sleep 60 & echo $! > grandchild); setsid sleep 61 & echo $! > apart; wait", **limits
    )
    assert (ended.exit_code, ended.reason) == (None, reason)
    assert not exists(int((tmp_path / "grandchild").read_text()))
    assert not exists(int((tmp_path / "apart").read_text()))


async def test_a_command_that_keeps_writing_is_not_idle(tmp_path: Path) -> None:
    ended = await shell(tmp_path, "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done", idle_timeout_s=1.2)
    assert ended.reason is ProcessEnd.FINISHED


async def test_a_command_that_ignores_term_is_killed_after_the_grace(tmp_path: Path) -> None:
    ended = await shell(tmp_path, "trap '' TERM; echo $$ > pid; while :; do sleep 1; done", timeout_s=1.5, grace_s=0.3)
    assert ended.reason is ProcessEnd.TIMED_OUT
    assert not exists(int((tmp_path / "pid").read_text()))


async def test_a_command_may_tidy_up_on_term(tmp_path: Path) -> None:
    await shell(tmp_path, "trap 'echo tidy; exit' TERM; while :; do sleep 0.1; done", timeout_s=1.5)
    assert (tmp_path / "log").read_text().endswith("tidy\n")


async def test_what_a_finished_command_left_running_is_gone(tmp_path: Path) -> None:
    ended = await shell(tmp_path, "sleep 60 & echo $! > stray; setsid sleep 61 & echo $! > apart; exit 0")
    assert ended.exit_code == 0
    assert not exists(int((tmp_path / "stray").read_text()))
    assert not exists(int((tmp_path / "apart").read_text()))


async def test_cancelling_ends_the_group(tmp_path: Path) -> None:
    known: list[ProcessIdentity] = []
    task = asyncio.create_task(shell(tmp_path, "echo $$ > pid; sleep 60", started=known.append))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():  # noqa: ASYNC110  another process writes it
        await asyncio.sleep(0.02)
    assert alive(known[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(known[0])
    assert not exists(int((tmp_path / "pid").read_text()))


async def test_a_failing_started_callback_ends_the_command(tmp_path: Path) -> None:
    known: list[ProcessIdentity] = []

    def fail(who: ProcessIdentity) -> None:
        known.append(who)
        raise ValueError("the database is away")

    with pytest.raises(ValueError, match="database"):
        await shell(tmp_path, "sleep 60", started=fail)
    assert not alive(known[0])


def test_the_blocking_form_works_in_a_thread(tmp_path: Path) -> None:
    found: list[Ended] = []
    thread = threading.Thread(
        target=lambda: found.append(
            run_blocking(["true"], cwd=tmp_path, environment={}, log=tmp_path / "log", timeout_s=30)
        )
    )
    thread.start()
    thread.join()
    assert found[0].exit_code == 0


def _run_for_long(folder: Path) -> None:
    script = "sleep 60 & echo $! > grandchild; echo $$ > pid; wait"
    run_blocking(["/bin/sh", "-c", script], cwd=folder, environment={}, log=folder / "log", timeout_s=60)


def test_a_command_and_its_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    parent = SPAWN.Process(target=_run_for_long, args=(tmp_path,))
    parent.start()
    assert becomes(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    pids = [int((tmp_path / name).read_text()) for name in ("pid", "grandchild")]
    assert all(map(exists, pids))
    parent.kill()
    parent.join()
    assert becomes(lambda: not any(map(exists, pids)))


async def test_a_recorded_group_can_be_ended_from_elsewhere(tmp_path: Path) -> None:
    known: list[ProcessIdentity] = []
    running = asyncio.create_task(shell(tmp_path, "trap '' TERM; sleep 60", started=known.append))
    while not known:  # noqa: ASYNC110  set by the task
        await asyncio.sleep(0.02)
    assert await asyncio.to_thread(kill_group, known[0], grace_s=0.2) is True
    assert (await running).reason is ProcessEnd.FINISHED
    assert await asyncio.to_thread(kill_group, known[0]) is False


def test_a_command_is_found_on_the_path_it_is_given(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text(f"#!{sys.executable}\nprint('mine')\n")
    tool.chmod(0o755)
    environment = {"PATH": str(tool.parent)}
    run_blocking(["tool"], cwd=tmp_path, environment=environment, log=tmp_path / "log", timeout_s=30)
    assert (tmp_path / "log").read_text() == "mine\n"
