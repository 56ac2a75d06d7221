"""Databases that tests work on: SQLite files, and databases on a PostgreSQL server where one answers."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from pipeline.store.engine import Store
from pipeline.store.schema import migrate

POSTGRES = os.environ.get("ORCH_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")


@cache
def postgres_answers() -> bool:
    try:
        with create_engine(POSTGRES, connect_args={"connect_timeout": 2}).connect() as connection:
            connection.execute(text("select 1"))
    except SQLAlchemyError:
        return False
    return True


@contextmanager
def postgres_database(purpose: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, which is dropped in the end whoever is still connected."""
    name = f"{purpose}_test_{secrets.token_hex(6)}"
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    try:
        yield POSTGRES.rsplit("/", 1)[0] + f"/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


def empty(store: Store) -> None:
    """Have no rows in any table of a migrated PostgreSQL database; who is still connected to it is thrown out."""
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
    with store.engine.begin() as connection:
        connection.execute(text(f"{others} and pid <> pg_backend_pid()"))
        for table in reversed(SQLModel.metadata.sorted_tables):
            connection.execute(table.delete())


@cache
def migrated_file() -> bytes:
    """A migrated SQLite file without rows, to be copied: migrating takes longer than most of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "orch.db"
        store = Store(f"sqlite:///{file}")
        migrate(store)
        store.dispose()  # the last connection to close moves everything from the write-ahead log into the file
        return file.read_bytes()
