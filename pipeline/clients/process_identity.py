"""Telling processes apart, whatever their numbers are given to later, and ending exactly the one that is meant."""

import os
import signal
import socket
import time
from pathlib import Path

from pipeline.errors import CouldNotRun
from pipeline.model import ProcessIdentity

KILL_WAIT_S = 5.0
"""How long killed processes may take to vanish before we stop waiting for them (a process in the kernel's hands)."""


def identity(pid: int) -> ProcessIdentity:
    """Who the process `pid` of this host is. `started` is in seconds since boot, which no change of the clock moves.

    Raises `ProcessLookupError` when there is no such process.
    """
    started = _started(pid)
    if started is None:
        raise ProcessLookupError(f"There is no process {pid}.")
    return ProcessIdentity(socket.gethostname(), _boot(), pid, started)


def alive(who: ProcessIdentity) -> bool:
    """Whether exactly that process runs on this host. False on any other host: look at the lease there."""
    return (who.host, who.boot) == (socket.gethostname(), _boot()) and _started(who.pgid) == who.started


def alive_here(who: ProcessIdentity) -> bool | None:
    """Whether exactly that process runs; None when it runs or ran on another host, so that nobody here can tell."""
    return alive(who) if who.host == socket.gethostname() else None


def went_with_its_host(who: ProcessIdentity) -> bool:
    """Whether this host, on which the process ran, has been started anew since: whatever ran there has died with it."""
    return who.host == socket.gethostname() and who.boot != _boot()


def kill_group(who: ProcessIdentity, *, grace_s: float = 5.0) -> bool:
    """End the process group that `who` leads: TERM, after `grace_s` KILL. Blocks until it is gone. Idempotent.

    True when there was something to end. A number that was given to another process since is never signalled.
    Raises `CouldNotRun` on another host than the one that the group runs on.
    """
    if who.host != socket.gethostname():
        raise CouldNotRun(f"Process group {who.pgid} runs on host {who.host}; it can only be ended there.")
    if not alive(who):
        return False
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGHUP, KILL_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
        signal_group(who.pgid, number)
        if _gone_within(who, patience_s):
            return True
    raise CouldNotRun(f"Process group {who.pgid} does not end even when killed; look at the host {who.host}.")


def _gone_within(who: ProcessIdentity, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while alive(who):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def signal_group(pgid: int, number: signal.Signals) -> None:
    """Signal a group, except that SIGHUP is only for the supervisor that leads it."""
    try:
        (os.kill if number is signal.SIGHUP else os.killpg)(pgid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile: what was wanted


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> float | None:
    """Start time of a living process in seconds since boot; None when it is dead, a zombie or absent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, ticks = fields[0], int(fields[19])
    return None if state in (b"Z", b"X") else ticks / os.sysconf("SC_CLK_TCK")
