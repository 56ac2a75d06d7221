"""Check 2: Orch's own database answers, has this program's schema, and is the one that the running Orch uses."""

import asyncio
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL

from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.health import read_health
from deployments.staging_check.staging import Staging
from pipeline.errors import CouldNotRun
from pipeline.settings import Settings
from pipeline.store import heartbeats
from pipeline.store.engine import Store, address, shown
from pipeline.store.schema import MIGRATIONS, check

CONNECT_S = 5
"""How long PostgreSQL may take to answer a connection; without it a host that is away would be waited for minutes."""


async def database(staging: Staging) -> Finding:
    """The database is there, current, and holds the tick that the running Orch tells of."""
    store = await asyncio.to_thread(existing_store, staging.settings)
    where = shown(store.engine.url)
    before = (await read_health(staging)).last_tick
    here = await store.aread(heartbeats.last, heartbeats.TICK)
    after = (await read_health(staging)).last_tick
    if before is None or after is None or here is None:
        return wrong(
            f"Whether the database at {where} is the running Orch's cannot be told before its first tick: try again in"
            " a minute."
        )
    if not before <= here <= after:
        return wrong(
            f"The database at {where} is not the running Orch's: the last tick there was at {here.isoformat()}, the"
            f" running Orch's at {after.isoformat()}; correct ORCH_STATE_DIR or ORCH_DATABASE_URL here."
        )
    return fine(f"The database at {where} is the running Orch's and has the current schema.")


def existing_store(settings: Settings) -> Store:
    """The store of these settings, with the current schema; never one that connecting has just made. Blocks.

    Raises `CouldNotRun` with what is wrong, `DatabaseTooNew`, and `Unavailable` when the database does not answer.
    """
    url = address(settings.store_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise CouldNotRun(
            f"There is no database at {url.database}: put the file back where it was, or correct ORCH_STATE_DIR or"
            " ORCH_DATABASE_URL here."
        )
    store = Store(_impatient(url).render_as_string(hide_password=False))
    check(store)
    _require_current(store)
    return store


def _require_current(store: Store) -> None:
    with store.in_sentences(), store.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if found != newest:
        raise CouldNotRun(
            f"The database at {shown(store.engine.url)} is at schema {found or 'none at all'}, this version's is"
            f" {newest}: start this version's `orch up`, which migrates it, or correct ORCH_STATE_DIR here."
        )


def _impatient(url: URL) -> URL:
    if url.get_backend_name() == "sqlite" or "connect_timeout" in url.query:
        return url
    return url.update_query_dict({"connect_timeout": str(CONNECT_S)})
