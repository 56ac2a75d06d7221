"""Starting a process in a group of its own that dies with its parent, and ending such a group for good."""

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.errors import CouldNotRun

PR_SET_PDEATHSIG = 1  # linux/prctl.h
MARK = "ORCH_STARTED_BY"
"""The variable that tells whose a process is, also when nobody above it in the tree of processes lives any more."""

POLL_S = 0.05
KILLED_WITHIN_S = 10
"""Seconds that a killed process may take to go; longer means that the kernel cannot end it (a hung disk)."""

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a forked child must not load libraries


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and the reading end of its output. The end is closed apart: others may still hold the pipe."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    pipe: asyncio.ReadTransport


async def start_in_group(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None) -> Started:
    """Start `command` with `/dev/null` as input and one pipe for its output, leading a new process group.

    The kernel sends it TERM when the thread that calls this ends. Raises `OSError` when it cannot be started.
    """
    reading, writing = os.pipe()
    output = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", 0)
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            process_group=0,
            preexec_fn=_die_with_parent(os.getpid()),
        )
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(writing)
    return Started(process, output, pipe)


async def end_group(leader: int, grace_s: float, hurry: asyncio.Event | None = None) -> None:
    """End the process group of `leader` and every descendant of it: TERM to the group, KILL to all after `grace_s`.

    Nothing of it runs on return; idempotent. `hurry` cuts the grace short. Descendants outside the group get KILL only:
    a Prefect worker gives each flow run a session of its own. What must survive (a detached deploy hook) has a session
    of its own too and is started by a double fork, which makes it nobody's descendant, with an environment of its own,
    for `end_marked`. Raises `CouldNotRun` when something survives KILL.
    """
    family = _family(leader)
    if family and grace_s > 0:
        _signal_group(leader, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(map(_runs, family)) and time.monotonic() < deadline and not (hurry and hurry.is_set()):
        await asyncio.sleep(POLL_S)
        family |= _family(leader)
    await _kill(family, lambda: _family(leader))


async def end_marked(mark: str) -> None:
    """Kill every process that has inherited `mark`, and its descendants: what ended leaders have left elsewhere.

    Nothing of it runs on return; idempotent. Raises `CouldNotRun` when something survives.
    """
    await _kill(set(), lambda: _marked(mark))


async def _kill(family: set[psutil.Process], look: Callable[[], set[psutil.Process]]) -> None:
    """Kill until nothing is left: a process may have started another one since the last look."""
    deadline = time.monotonic() + KILLED_WITHIN_S
    while left := {process for process in family | look() if _runs(process)}:
        if time.monotonic() > deadline:
            pids = sorted(process.pid for process in left)
            raise CouldNotRun(f"Processes {pids} do not end although they were killed; look at them by hand.")
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.sleep(POLL_S)


def _die_with_parent(parent: int) -> Callable[[], None]:
    def ask_the_kernel() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return ask_the_kernel


def _family(leader: int) -> set[psutil.Process]:
    """The members of the group, and the descendants of its leader, that are there now."""
    members = {process for process in psutil.process_iter() if _group_of(process.pid) == leader}
    with contextlib.suppress(psutil.NoSuchProcess):
        members |= set(psutil.Process(leader).children(recursive=True))
    return members


def _marked(mark: str) -> set[psutil.Process]:
    """The processes that were started with the mark, and their descendants, that are there now."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or it is another user's
            if process.environ().get(MARK) == mark:
                found |= {process, *process.children(recursive=True)}
    return found


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
