"""One real Prefect server for the session, started as `orch up` starts it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, settings

from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, auth_string
from tests.support.databases import postgres_answers, postgres_database

# How long it takes to make examples up is a matter of what else the machine does.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# Set before any test module imports Prefect, which reads it then: a call of Prefect that no test has given a server fails
# at once. Otherwise Prefect starts a server by itself for it, which takes seconds and is left running when the tests end.
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server that was started; its output is in `server.log` of its home.

    On PostgreSQL where it answers: with several products' worth of traffic a second, SQLite's refused writes cost the
    suite minutes. What has to be shown on SQLite, the default, has a server of its own on it.
    """
    home = tmp_path_factory.mktemp("prefect")
    with postgres_database("prefect") if postgres_answers() else nullcontext() as url:
        database = url.replace("+psycopg", "+asyncpg") if url else None
        server = PrefectServer(home, free_ports(1)[0], auth_string(home / "auth"), database)
        with (home / "server.log").open("wb") as log:
            process = subprocess.Popen(
                server.command, env=server.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                yield server
            finally:
                process.kill()
                process.wait()
