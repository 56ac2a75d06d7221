"""Runs one command and leaves nothing of it behind. A program of its own, started by file name, never imported.

`python -I -S supervisor.py PARENT stdout|stderr|inside COMMAND...`

Why a program between Orch and the command, and not `preexec_fn`: code that runs between fork and exec in a process
with threads can deadlock (so says Python's own documentation), and the kernel's "signal me when my parent dies" covers
only the direct child, not what that child started. This process has one thread, asks the kernel for the signal, and
adopts every orphan among its descendants ("subreaper"), also one that has left the process group. So

- when the command ends, everything that it left running is killed before this process ends with its exit code
  (128 + n for signal n, as a shell does);
- when PARENT dies, or on SIGHUP, everything is killed at once;
- SIGTERM and SIGINT are left to the command; they are sent to the whole group.

With `stdout` a command that cannot be started is reported as `errno` text on standard output, which is closed as soon
as it has started, and the command writes both its streams to standard error. With `stderr` the command keeps its
streams and such a report goes to standard error. With `inside` the command is a sandbox that runs `inside.py`: that one
reports on standard output, which is left to it, and the sandbox itself ignores SIGTERM and SIGINT, or it would take the
command with it before its grace is over. Linux only.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_STARTED = 127
KILLED = 128 + signal.SIGKILL
OUTSIDE = (signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)
EVERYWHERE = (*OUTSIDE, signal.SIGTERM, signal.SIGINT)
"""Signals that a command finds at their defaults."""


def main(parent: int, report_to: str, command: list[str]) -> int:
    """Run `command` to its end and return its exit code."""
    signal.signal(signal.SIGHUP, _end_at_once)
    for left_to_the_command in (signal.SIGTERM, signal.SIGINT):
        signal.signal(left_to_the_command, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGHUP))
    if os.getppid() != parent:  # it died before the kernel knew that we care
        return KILLED
    report = os.dup(2 if report_to == "stderr" else 1)
    if report_to == "stdout":
        os.dup2(2, 1)
    child = os.fork()
    if child == 0:
        _become(command, report, OUTSIDE if report_to == "inside" else EVERYWHERE)
    if report_to == "inside":
        os.dup2(2, 1)
    os.close(report)
    code = _wait_for(child)
    _kill_descendants()
    return code


def _become(command: list[str], report: int, defaults: tuple[signal.Signals, ...]) -> NoReturn:
    """Turn this fork into the command; `report` closes by itself when that succeeds."""
    for number in defaults:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        os.write(report, (error.strerror or str(error)).encode())
    os._exit(NOT_STARTED)


def _wait_for(child: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _kill_descendants() -> None:
    """Kill our children until there are none; theirs become ours as they die."""
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Direct children, the dead ones that wait to be reaped included (signalling those does no harm)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(entry.name))
    return found


def _end_at_once(_signal: int, _frame: FrameType | None) -> None:
    _kill_descendants()
    os._exit(KILLED)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
