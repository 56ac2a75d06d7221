import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

import pipeline.store.tables  # noqa: F401  registers them all
from pipeline.errors import CouldNotRun, DatabaseTooNew
from pipeline.store.engine import Store
from pipeline.store.schema import check, migrate
from tests.support.databases import postgres_database


@pytest.fixture
def bare(backend: str, tmp_path: Path) -> Iterator[Store]:
    """A database of the test's own that was never migrated."""
    with postgres_database("orch") if backend == "postgresql" else nullcontext(f"sqlite:///{tmp_path}/orch.db") as url:
        store = Store(url)
        yield store
        store.dispose()


@pytest.fixture
def store(bare: Store) -> Store:
    """The same, migrated."""
    migrate(bare)
    return bare


def test_migrating_makes_every_table_and_column_and_a_second_time_nothing(bare: Store) -> None:
    assert migrate(bare)
    assert not migrate(bare)
    found = inspect(bare.engine)
    for name, table in SQLModel.metadata.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())


def test_the_migrations_say_the_same_as_the_tables(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_a_database_of_a_later_orch_is_refused_and_left_alone(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        check(store)
    with pytest.raises(DatabaseTooNew, match="later Orch"):
        migrate(store)


def test_a_user_who_may_make_no_tables_is_told_so(bare: Store, backend: str) -> None:
    if backend != "postgresql":
        pytest.skip("rights are PostgreSQL's")
    role = f"reader_{secrets.token_hex(6)}"  # roles are of the whole server
    with bare.engine.begin() as connection:
        connection.execute(text(f"create role {role} login"))
    try:
        reader = Store(bare.engine.url.set(username=role).render_as_string(hide_password=False))
        with pytest.raises(CouldNotRun, match=r"may not do that in the database at .*permission denied"):
            migrate(reader)
        reader.dispose()
    finally:
        with bare.engine.begin() as connection:
            connection.execute(text(f"drop role {role}"))
