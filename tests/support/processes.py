"""Looking at what other processes do."""

import time
from collections.abc import Callable

from pipeline.clients.process_identity import identity


def becomes(true: Callable[[], object]) -> bool:
    """Wait for something that happens in another process, for as long as a slow machine may need."""
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true())


def exists(pid: int) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return identity(pid) is not None
    except ProcessLookupError:
        return False
