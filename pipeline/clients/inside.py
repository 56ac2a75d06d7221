"""Turns into one command inside a sandbox. A program of its own, started by file name, never imported.

`python -I -S inside.py COMMAND...`

Standard output is the pipe on which Orch listens: it is told `.` as soon as the sandbox stands, and after that why the
command could not be started, if it could not. The command writes both its streams to standard error.
"""

import os
import signal
import sys
from typing import NoReturn

STANDS = b"."
NOT_STARTED = 127


def main(command: list[str]) -> NoReturn:
    """Become `command`; the pipe closes by itself when that succeeds."""
    report = os.dup(1)
    os.dup2(2, 1)
    os.write(report, STANDS)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        os.write(report, (error.strerror or str(error)).encode())
    os._exit(NOT_STARTED)


if __name__ == "__main__":
    main(sys.argv[1:])
