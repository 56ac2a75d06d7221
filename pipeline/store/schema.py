"""The database's schema: brought up to date by `orch up`, refused where it is newer than this program."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from pipeline.errors import DatabaseTooNew
from pipeline.store.engine import Store

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(store: Store) -> bool:
    """Bring the database to this program's schema; whether anything had to be done. Idempotent.

    Raises `DatabaseTooNew` when a later Orch has written it; and see `Store.in_sentences`, here and below.
    """
    with store.in_sentences(), store.engine.begin() as connection:
        before = _revision(connection)
        _refuse_newer(before)
        if before == _newest():
            return False
        command.upgrade(_config(connection), "head")
        return True


def check(store: Store) -> None:
    """Raise `DatabaseTooNew` when the database is from a later Orch."""
    with store.in_sentences(), store.engine.connect() as connection:
        _refuse_newer(_revision(connection))


def made(store: Store) -> bool:
    """Whether the database was ever migrated."""
    with store.in_sentences(), store.engine.connect() as connection:
        return _revision(connection) is not None


def current(store: Store) -> bool:
    """Whether the database has exactly this program's schema."""
    with store.in_sentences(), store.engine.connect() as connection:
        return _revision(connection) == _newest()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseTooNew(
            f"Orch's database is at schema {revision}, which this version does not know: a later Orch has written it. "
            "Start that version, or restore the backup that was made before it first ran."
        )
