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

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session

from pipeline.errors import CouldNotRun, SettingsError, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
ATTEMPTS = 8

SQLITE = frozenset({"sqlite", "sqlite+pysqlite"})
POSTGRESQL = frozenset({"postgresql+psycopg"})
"""How the URLs begin that Orch can work with."""

UNREADABLE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
FORBIDDEN = "42501"
"""PostgreSQL's code for what this user has no right to."""


class Store:
    """Orch's database. Safe to use from several threads and processes; fork-safe after `dispose`."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises `SettingsError` for a URL that cannot be used; see `address`."""
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

    @contextmanager
    def in_sentences(self) -> Iterator[None]:
        """Have what the driver raises in the body say where the database is and what to do.

        Raises `Unavailable` when it does not answer, and `CouldNotRun` when it is broken or forbids what is needed.
        """
        try:
            yield
        except DBAPIError as error:
            raise _in_a_sentence(self.engine.url, error) or error from error

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


def address(url: str) -> URL:
    """The URL of a database, parsed. Raises `SettingsError` when it is malformed or of a database that Orch cannot use."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number; either repeats the password
        raise SettingsError(
            "ORCH_DATABASE_URL is not the address of a database; that is sqlite:////folder/orch.db or"
            " postgresql+psycopg://user:password@host/orch. Correct it, or unset it for a file in ORCH_STATE_DIR."
        ) from None
    if parsed.drivername not in SQLITE | POSTGRESQL:
        raise SettingsError(
            f"ORCH_DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://, not {parsed.drivername}://."
        )
    return parsed


def shown(url: URL) -> str:
    """A database's URL as people may see it: without the password, and without options, which can hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


def _in_a_sentence(url: URL, error: DBAPIError) -> CouldNotRun | None:
    where, reason = shown(url), str(error.orig).partition("\n")[0].rstrip(".")
    if isinstance(error, OperationalError):
        return Unavailable(
            f"Orch's database at {where} does not answer: {reason}. Start it, or correct ORCH_DATABASE_URL."
        )
    if getattr(error.orig, "sqlite_errorcode", None) in UNREADABLE:
        return CouldNotRun(
            f"What is at {where} cannot be read as a database: {reason}. Put a backup in its place, or correct"
            " ORCH_STATE_DIR or ORCH_DATABASE_URL."
        )
    if getattr(error.orig, "sqlstate", None) == FORBIDDEN:
        return CouldNotRun(f"Orch's user may not do that in the database at {where}: {reason}. Make it the owner.")
    return None


def _engine(url: str) -> Engine:
    parsed = address(url)
    return _sqlite(parsed) if parsed.drivername in SQLITE else _postgresql(parsed)


def _sqlite(url: URL) -> Engine:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder of Orch's database cannot be made: {error}. Correct ORCH_STATE_DIR or ORCH_DATABASE_URL."
        ) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=10)
    except ImportError as error:  # also when psycopg is there without the library that it needs
        raise SettingsError(
            f"ORCH_DATABASE_URL names PostgreSQL, but its driver cannot be used here: {error}. Install Orch with it:"
            " pip install -c constraints.txt '.[postgres]'."
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below decides
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("orch_reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
