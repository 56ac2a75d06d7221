"""The product's processes, found below this one and nowhere else, and killed as a crash would."""

import contextlib
import os
import signal

import psutil

CHILDREN = {
    "receiver": "deployments.receiver",
    "Prefect server": "deployments.prefect_main",
    "worker of agents": "orch-agents",
    "worker of control": "orch-control",
}
"""By what the command line of each of the product's own processes is known."""


def child(name: str) -> psutil.Process | None:
    """One of the product's processes; None while it is being started again."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(CHILDREN[name] in word for word in process.cmdline()):
                return process
    return None


def kill(pid: int) -> bool:
    """`kill -9`; whether there was such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def left_behind(state: str) -> list[str]:
    """Command lines of processes that were given this state folder and are still there."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("ORCH_STATE_DIR", "").startswith(state):
                found.append(" ".join(process.cmdline())[:120])
    return found
