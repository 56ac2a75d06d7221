"""A receiver on a sandbox, with a socket and without."""

from collections.abc import AsyncIterator

import httpx
import pytest

from deployments.receiver.app import create_app
from tests.support.hooks import receiving
from tests.support.services import Desk, until


@pytest.fixture
async def web(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A receiver that knows itself and the project's states (which it learns last)."""
    async with receiving(desk) as client:
        await until(lambda: desk.root.states.cached(desk.project))
        yield client


@pytest.fixture
async def door(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """The same without a socket: for what depends on the request alone, and for requests that no socket lets through."""
    app = create_app(desk.root)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://orch") as client,
    ):
        await until(lambda: desk.root.states.cached(desk.project))
        yield client
