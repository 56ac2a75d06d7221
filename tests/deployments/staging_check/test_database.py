"""Check 2 on real SQLite files, and on a PostgreSQL that is away."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.staging_check.checks import CHECKS
from deployments.staging_check.runner import Result, carry_out
from deployments.staging_check.staging import Staging
from pipeline.store import heartbeats
from tests.support.hooks import receiving
from tests.support.services import Desk

[CHECK] = [check for check in CHECKS if check.name == "database"]


@pytest.fixture
async def received(desk: Desk) -> AsyncIterator[Desk]:
    """The desk with its receiver running and a first tick made."""
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now)
    async with receiving(desk):
        yield desk


async def look(staging: Staging, **changes: object) -> Result:
    staging.settings = staging.settings.model_copy(update=changes)
    return await carry_out(CHECK, staging)


async def test_the_running_orchs_database_is_recognised(received: Desk, staging: Staging) -> None:
    result = await look(staging)
    assert result.ok, result.sentence
    assert str(staging.settings.state_dir / "orch.db") in result.sentence


async def test_a_copy_that_the_running_orch_does_not_write_to_is_told_apart(
    received: Desk, staging: Staging, tmp_path: Path
) -> None:
    received.store.dispose()  # moves everything into the one file
    shutil.copy(staging.settings.state_dir / "orch.db", tmp_path / "copy.db")
    received.store.write(heartbeats.beat, heartbeats.TICK, received.clock.now + timedelta(seconds=30))
    result = await look(staging, database_url=f"sqlite:///{tmp_path / 'copy.db'}")
    assert not result.ok
    assert f"copy.db is not the running Orch's: the last tick there was at {received.clock.now.isoformat()}" in (
        result.sentence
    )


async def test_a_file_that_is_not_there_is_named_and_neither_it_nor_its_folder_is_made(
    received: Desk, staging: Staging, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    result = await look(staging, state_dir=gone)
    assert result.sentence == (
        f"There is no database at {gone / 'orch.db'}: put the file back where it was, or correct ORCH_STATE_DIR or"
        " ORCH_DATABASE_URL here."
    )
    assert not gone.exists()


async def test_an_empty_file_has_no_schema(received: Desk, staging: Staging, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    result = await look(staging, database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    assert not result.ok
    assert "is at schema none at all, this version's is" in result.sentence
    assert "start this version's `orch up`" in result.sentence


async def test_a_file_that_is_no_database_is_a_sentence(received: Desk, staging: Staging, tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear Orch, " * 100)
    result = await look(staging, database_url=f"sqlite:///{tmp_path / 'letter.db'}")
    assert not result.ok
    assert "file is not a database" in result.sentence
    assert "bug" not in result.sentence


async def test_a_schema_of_another_version_is_named(received: Desk, staging: Staging) -> None:
    with sqlite3.connect(staging.settings.state_dir / "orch.db") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    result = await look(staging)
    assert "is at schema 9999, which this version does not know" in result.sentence


async def test_before_the_first_tick_nobody_can_tell_whose_it_is(desk: Desk, staging: Staging) -> None:
    async with receiving(desk):
        result = await look(staging)
    assert not result.ok
    assert "cannot be told before its first tick" in result.sentence


async def test_a_postgresql_that_is_away_is_a_sentence_without_its_password(staging: Staging) -> None:
    result = await look(staging, database_url="postgresql+psycopg://orch:s3cret@127.0.0.1:1/orch")
    assert not result.ok
    assert result.sentence.startswith(
        "Orch's database at postgresql+psycopg://orch:***@127.0.0.1:1/orch does not answer"
    )
    assert result.sentence.endswith("Start it, or correct ORCH_DATABASE_URL.")
    assert "s3cret" not in result.sentence
