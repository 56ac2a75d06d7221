"""Starts one command that outlives whoever started it. A program of its own, started by file name, never imported.

`python -I -S launcher.py LOG COMMAND...`

The command becomes nobody's child, in a session of its own, so that neither a signal to our process group nor a walk
through our descendants meets it. It is forked here and not by Orch, because code that runs between fork and exec in a
process with threads can deadlock. Tells `<pid>` on standard output, and after it why the command could not be started;
end of file means that it has been started.
"""

import os
import signal
import sys
from typing import NoReturn

NOT_STARTED = 127


def main(log: str, command: list[str]) -> None:
    """Start `command` with its output appended to `log`, and tell its process id."""
    report, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(report)
        _become(log, command, told)
    os.close(told)
    with open(report, "rb") as problem:  # noqa: PTH123  it is a descriptor, not a path
        sys.stdout.write(f"{child}\n{problem.read().decode(errors='replace')}")


def _become(log: str, command: list[str], told: int) -> NoReturn:
    """Turn this fork into the command; `told` closes by itself when that succeeds."""
    try:
        os.setsid()
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        os.write(told, (error.strerror or str(error)).encode())
    os._exit(NOT_STARTED)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
