"""Each test of the store once for each kind of database: SQLite, and PostgreSQL where one answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tests.support.databases import empty, migrated_file, postgres_answers, postgres_database


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", ["sqlite", *(["postgresql"] if postgres_answers() else [])])


@pytest.fixture(scope="session")
def migrated_database() -> Iterator[Store]:
    """A migrated PostgreSQL database for all tests that only need one without rows."""
    with postgres_database("orch") as url:
        store = Store(url)
        migrate(store)
        yield store
        store.dispose()


@pytest.fixture
def store_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A migrated database without rows."""
    if backend == "postgresql":
        store: Store = request.getfixturevalue("migrated_database")
        empty(store)
        return store.url
    file = tmp_path / "orch.db"
    file.write_bytes(migrated_file())
    return f"sqlite:///{file}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    made = Store(store_url)
    yield made
    made.dispose()
