"""One real Prefect server for the session, started as `orch up` starts it."""

import subprocess
from collections.abc import Iterator

import pytest

from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, auth_string


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that was started; its output is in `server.log` of its home."""
    home = tmp_path_factory.mktemp("prefect")
    server = PrefectServer(home, free_ports(1)[0], auth_string(home / "auth"))
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            server.command, env=server.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield server
        finally:
            process.kill()
            process.wait()
