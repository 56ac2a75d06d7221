"""The database connection: SQLite or PostgreSQL, with transactions that cannot deadlock against each other.

On SQLite every writing transaction begins IMMEDIATE: a deferred one that reads first and writes then fails at once
with "database is locked" in spite of the busy time-out (measured). No network call belongs inside a transaction.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session

from pipeline.errors import SettingsError, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
ATTEMPTS = 8


class Store:
    """Orch's database. Safe to use from several threads and processes; fork-safe after `dispose`."""

    def __init__(self, url: str) -> None:
        """Raises `SettingsError` for a URL that is neither SQLite nor PostgreSQL."""
        self.url = url
        self.engine = _engine(url)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One writing transaction: committed at the end, rolled back on any exception."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def look(self) -> Iterator[Session]:
        """One reading transaction: a snapshot, however many selects it makes; takes no write lock."""
        options: dict[str, Any] = {"orch_reads_only": True}
        if (
            self.engine.dialect.name == "postgresql"
        ):  # where each select sees what was committed last; SQLite reads a snapshot
            options["isolation_level"] = "REPEATABLE READ"
        with (
            self.engine.execution_options(**options).connect() as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def write(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(session, ...)` in a writing transaction, again when the database was busy or lost a race.

        `work` must therefore have no effect outside the session. Raises `Unavailable` when the database stays away.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.begin() as session:
                    return work(session, *args, **kwargs)
            except DBAPIError as error:
                if not _passing(error):
                    raise
                if attempt == ATTEMPTS and isinstance(error, IntegrityError):
                    raise
                if attempt == ATTEMPTS:
                    raise Unavailable(f"Orch's database does not answer: {error.orig}") from error
                time.sleep(random.uniform(0.02, 0.1) * attempt)  # noqa: S311  spreading retries, not a secret
        raise AssertionError("unreachable")

    def read(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(session, ...)` on a consistent snapshot, again when the database was away for a moment.

        Raises `Unavailable` when it stays away.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.look() as session:
                    return work(session, *args, **kwargs)
            except OperationalError as error:
                if attempt == ATTEMPTS:
                    raise Unavailable(f"Orch's database does not answer: {error.orig}") from error
                time.sleep(0.1 * attempt)
        raise AssertionError("unreachable")

    async def awrite(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` from a coroutine, in a thread."""
        return await asyncio.to_thread(lambda: self.write(work, *args, **kwargs))

    async def aread(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`read` from a coroutine, in a thread."""
        return await asyncio.to_thread(lambda: self.read(work, *args, **kwargs))

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _passing(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when tried again."""
    if isinstance(error, IntegrityError):
        return True  # two writers inserted the same natural key; the second look finds the first's row
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in ("40001", "40P01") or isinstance(error, OperationalError)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=10)
    raise SettingsError(f"ORCH_DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://, not {backend}.")


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below decides
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("orch_reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
