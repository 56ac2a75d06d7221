"""Prefect's own command line, with transactions on SQLite that queue up: `python -m deployments.prefect_main server start`.

Prefect 3.8.8 opens most of its SQLite transactions with `BEGIN DEFERRED` and reads before it writes. When anybody else
commits in between, SQLite refuses the write at once ("database is locked", whatever the busy time-out): the request ends
with a 503 and an automation's action starts its back-off. Worse, such an error's traceback keeps database cursors alive;
when it is collected while the same pooled connection waits for the write lock, the server's event loop stands still
until the wait times out (measured with gdb: `sqlite3_reset` in the main thread blocks on the connection's mutex for the
60 s of Prefect's `busy_timeout`; Python 3.11.7, aiosqlite 0.22). With `BEGIN IMMEDIATE` a writer waits for its turn
before it reads, and neither happens. The database configuration is given to Prefect by its own `set_database_config`;
on PostgreSQL nothing is changed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class QueueingSqlite(AioSqliteConfiguration):
    """Prefect's SQLite configuration whose transactions take the write lock when they begin."""

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG002  the signature is Prefect's; here every transaction is for update
    ) -> AsyncIterator[AsyncSessionTransaction]:
        """A transaction of `session` that no other writer can invalidate."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def main() -> None:
    """Run Prefect's command line with the given arguments."""
    url = get_current_settings().server.database.connection_url
    if url is not None and url.get_secret_value().startswith("sqlite"):
        set_database_config(QueueingSqlite(connection_url=url.get_secret_value()))
    app()


if __name__ == "__main__":
    main()
