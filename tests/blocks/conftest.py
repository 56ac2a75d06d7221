"""The session's Prefect server, where the tests of the blocks save theirs."""

from collections.abc import AsyncIterator

import pytest

from deployments.prefect_server import PrefectServer, wait_until_healthy
from tests.support.prefect_address import talking_to


@pytest.fixture
async def at_prefect(prefect_server: PrefectServer) -> AsyncIterator[None]:
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    with talking_to(prefect_server.url, prefect_server.auth):
        yield
