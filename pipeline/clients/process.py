"""Runs foreign commands (agents, test commands) so that nothing leaks in and nothing is left behind.

Nothing is inherited but what is passed: environment, standard input, log. A command runs under `supervisor.py`, in a
session and process group of its own; the supervisor is the group's leader and says what dies with whom, and why it is
not done with `preexec_fn`. Linux only.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.clients.logs import end_of, readable
from pipeline.clients.process_identity import KILL_WAIT_S, identity, signal_group
from pipeline.errors import CouldNotRun
from pipeline.model import ProcessIdentity

SUPERVISOR = Path(__file__).with_name("supervisor.py")
INSIDE = Path(__file__).with_name("inside.py")
STANDS = "."
"""What `inside.py` says first."""
SAID_BYTES = 2_000
PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR")
LOOK_EVERY_S = 0.25


class ProcessEnd(StrEnum):
    """Why a process ended."""

    FINISHED = "finished"
    TIMED_OUT = "timed out"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `exit_code` is None when we ended it; 128 + n means that signal n did."""

    exit_code: int | None
    reason: ProcessEnd
    duration_s: float


def supervised(command: Sequence[str], *, report_to: str) -> list[str]:
    """The argument list that runs `command` under the supervisor, as a child of the calling process."""
    return [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), report_to, *command]


def confined(walls: Sequence[str], command: Sequence[str]) -> list[str]:
    """The argument list that runs `command` within `walls`, the arguments of a sandbox, which must let Python run."""
    return [*walls, os.path.realpath(sys.executable), "-I", "-S", str(INSIDE), *command]


def safe_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a command that runs a branch's code: an allow-list, never a copy of ours.

    PATH, language, time zone and TMPDIR are passed on, HOME is `home` (a private folder that the caller makes), and
    `extra` is added. No secret of Orch, and no address of a service, is in it unless `extra` puts it there.
    """
    passed_on = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("LC_")}
    return {"PATH": os.defpath, **passed_on, "HOME": str(home), **(extra or {})}


async def run(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    stdin: Path | None = None,
    timeout_s: float,
    idle_timeout_s: float | None = None,
    grace_s: float = 5.0,
    walls: Sequence[str] = (),
    started: Callable[[ProcessIdentity], None] | None = None,
) -> Ended:
    """Run `command` to its end, or until it takes too long or its log stops growing for too long (seconds).

    Then, or when this coroutine is cancelled, the whole process group gets TERM and after `grace_s` KILL; at return
    nothing that the command started is alive, whatever way it ended. `log` is replaced by what the command writes to
    its output and error streams; standard input is the file `stdin`, or empty. `started` is called once, before
    anything is waited for; when it raises, the command is ended and the exception goes through. Not idempotent.

    With `walls`, the arguments of a sandbox (see `pipeline.clients.bubblewrap`), it runs inside of that.

    The command dies with the thread that awaits this, and so with its process. Raises `CouldNotRun` when it cannot be
    started at all: missing, not executable, or no such `cwd`, or a sandbox that cannot be set up.
    """
    began = time.monotonic()
    process = await _start(command, cwd, environment, log, stdin, walls)
    try:
        if started is not None:
            started(identity(process.pid))
        reason = await _watch(_finish(process, command, log, walls), log, began + timeout_s, idle_timeout_s)
    finally:
        await _end(process, grace_s)
    return Ended(_exit_code(process) if reason is ProcessEnd.FINISHED else None, reason, time.monotonic() - began)


def run_blocking(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    stdin: Path | None = None,
    timeout_s: float,
    grace_s: float = 5.0,
    walls: Sequence[str] = (),
) -> Ended:
    """`run` for a thread without an event loop; blocks until the command has ended."""
    return asyncio.run(
        run(
            command, cwd=cwd, environment=environment, log=log, stdin=stdin, timeout_s=timeout_s, grace_s=grace_s,
            walls=walls,
        )
    )  # fmt: skip


async def _start(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    stdin: Path | None,
    walls: Sequence[str],
) -> asyncio.subprocess.Process:
    if not command:
        raise CouldNotRun("There is no command to run; give the program and its arguments.")
    whole = (
        supervised(confined(walls, command), report_to="inside") if walls else supervised(command, report_to="stdout")
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with (stdin or Path(os.devnull)).open("rb") as source, log.open("wb") as sink:
        try:
            return await asyncio.create_subprocess_exec(
                *whole,
                cwd=cwd,
                env=dict(environment),
                stdin=source,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
            )
        except OSError as error:
            raise CouldNotRun(
                f"The command {command[0]!r} cannot be started in {cwd}: {error.strerror}. "
                "Look whether that folder exists."
            ) from error


async def _watch(
    finish: Coroutine[None, None, None],
    log: Path,
    deadline: float,
    idle_timeout_s: float | None,
) -> ProcessEnd:
    """Wait until the process ends or must be ended."""
    ending = asyncio.ensure_future(finish)
    try:
        size, grew = -1, time.monotonic()
        while True:
            pause = max(0.0, min(LOOK_EVERY_S, deadline - time.monotonic()))
            done, _ = await asyncio.wait({ending}, timeout=pause)
            now = time.monotonic()
            if done:
                ending.result()
                return ProcessEnd.FINISHED
            if now >= deadline:
                return ProcessEnd.TIMED_OUT
            if (size_now := _size(log)) != size:
                size, grew = size_now, now
            if idle_timeout_s is not None and now - grew >= idle_timeout_s:
                return ProcessEnd.IDLE
    finally:
        ending.cancel()


def _size(log: Path) -> int:
    """Bytes in the log; a log that the command has deleted does not grow."""
    return log.stat().st_size if log.exists() else 0


async def _finish(process: asyncio.subprocess.Process, command: Sequence[str], log: Path, walls: Sequence[str]) -> None:
    assert process.stdout is not None  # noqa: S101  for the type checker: it was opened as a pipe
    problem = (await process.stdout.read()).decode(errors="replace")
    await process.wait()
    if walls and not problem.startswith(STANDS):
        said = problem or readable(end_of(log, SAID_BYTES)).strip()
        raise CouldNotRun(
            f"The sandbox for the command {command[0]!r} could not be set up: {said}. "
            "Look at `orch doctor`, or set ORCH_SANDBOX=off to do without."
        )
    problem = problem.removeprefix(STANDS) if walls else problem
    if problem:
        raise CouldNotRun(
            f"The command {command[0]!r} cannot be started: {problem}. "
            "Install it, make it executable, or correct the command."
        )


async def _end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """TERM to the group, after the grace KILL, and wait until it is gone; a second cancellation shortens the grace."""
    if process.returncode is not None:
        return
    signal_group(process.pid, signal.SIGTERM)
    try:
        await _wait(process, grace_s)
    finally:
        if process.returncode is None:
            signal_group(process.pid, signal.SIGHUP)  # the supervisor kills whatever it has adopted, too
            await _wait(process, KILL_WAIT_S)
        if process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)
            await process.wait()


async def _wait(process: asyncio.subprocess.Process, patience_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), patience_s)


def _exit_code(process: asyncio.subprocess.Process) -> int | None:
    """As a shell tells it, also when the supervisor itself was killed."""
    code = process.returncode
    return 128 - code if code is not None and code < 0 else code
