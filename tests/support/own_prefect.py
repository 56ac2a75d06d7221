"""A Prefect server of a test's own, on SQLite as by default, which can be killed and started again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, auth_string


class OwnPrefect:
    """The server, and its process while it runs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "prefect"
        self.server = PrefectServer(self.home, free_ports(1)[0], auth_string(folder / "prefect-auth"))
        self.start()

    def start(self) -> None:
        """Start it; it answers a little later."""
        self._process = subprocess.Popen(
            self.server.command,
            env=self.server.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it without a warning. Idempotent."""
        self._process.kill()
        self._process.wait()


@contextmanager
def own_prefect(folder: Path) -> Iterator[OwnPrefect]:
    """A running one; gone afterwards."""
    made = OwnPrefect(folder)
    try:
        yield made
    finally:
        made.kill()
