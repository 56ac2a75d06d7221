"""One real Prefect server for the session, started as `orch up` starts it."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, auth_string

POSTGRES = os.environ.get("ORCH_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")


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
    with _database() as database:
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


@contextmanager
def _database() -> Iterator[str | None]:
    """A PostgreSQL database for the server, None where there is no PostgreSQL."""
    name = f"prefect_test_{secrets.token_hex(6)}"
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
    try:
        with admin.connect() as connection:
            connection.execute(text(f"create database {name}"))
    except SQLAlchemyError:
        yield None
        return
    try:
        yield POSTGRES.replace("+psycopg", "+asyncpg").rsplit("/", 1)[0] + f"/{name}"
    finally:
        with contextlib.suppress(SQLAlchemyError), admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()
