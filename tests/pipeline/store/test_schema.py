import pytest
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from pipeline.errors import DatabaseTooNew
from pipeline.store import tables
from pipeline.store.engine import Store
from pipeline.store.schema import check, migrate


def test_migrating_makes_every_table_and_column_and_a_second_time_nothing(store_url: str) -> None:
    store = Store(store_url)
    assert migrate(store)
    assert not migrate(store)
    found = inspect(store.engine)
    for name, table in SQLModel.metadata.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())


def test_the_migrations_say_the_same_as_the_tables(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.SQLModel.metadata) == []


def test_a_database_of_a_later_orch_is_refused_and_left_alone(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        check(store)
    with pytest.raises(DatabaseTooNew, match="later Orch"):
        migrate(store)
