"""Prefect's transactions on SQLite wait for their turn instead of failing."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from deployments.prefect_main import QueueingSqlite


async def count_up_twice_at_once(configuration: AioSqliteConfiguration) -> int:
    """Two transactions that read, meet, and then write; what the counter says afterwards."""
    engine = await configuration.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE counter (n INTEGER)"))
        await connection.execute(sa.text("INSERT INTO counter VALUES (0)"))

    async def count_up() -> None:
        async with await configuration.session(engine) as session, configuration.begin_transaction(session):
            found = (await session.execute(sa.text("SELECT n FROM counter"))).scalar_one()
            await asyncio.sleep(0.2)
            await session.execute(sa.text("UPDATE counter SET n = :n"), {"n": found + 1})

    try:
        await asyncio.gather(count_up(), count_up())
        async with engine.connect() as connection:
            return int((await connection.execute(sa.text("SELECT n FROM counter"))).scalar_one())
    finally:
        await engine.dispose()


async def test_two_that_read_before_they_write_both_get_their_turn(tmp_path: Path) -> None:
    assert await count_up_twice_at_once(QueueingSqlite(connection_url=f"sqlite+aiosqlite:///{tmp_path / 'db'}")) == 2


async def test_with_prefects_own_configuration_one_of_them_fails(tmp_path: Path) -> None:
    """The day this fails, Prefect queues by itself and `prefect_main` can go."""
    with pytest.raises(OperationalError, match="database is locked"):
        await count_up_twice_at_once(AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path / 'db'}"))
