"""One Prefect server for the tests of the blocks."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A running Prefect server with a database of its own."""
    with prefect_test_harness(server_startup_timeout=60):
        yield
