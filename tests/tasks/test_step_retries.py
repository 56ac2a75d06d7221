"""How often a task asks Plane again, on a real Prefect server: only what may pass, and what was refused just once."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prefect import flow
from pydantic import SecretStr

from deployments.prefect_server import PrefectServer, wait_until_healthy
from pipeline.clients.plane import PlaneClient
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import TrackerItem
from tasks import services
from tasks.retry import RETRIES
from tasks.tracker import read_card
from tests.support.faulty import FaultyServer, Step, answer, drop, faulty_server
from tests.support.prefect_address import talking_to
from tests.support.services import Desk

AT_ONCE = read_card.with_options(retry_delay_seconds=[0.0] * RETRIES)


@pytest.fixture
async def desk(desk: Desk, prefect_server: PrefectServer) -> AsyncIterator[Desk]:
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    with talking_to(prefect_server.url, prefect_server.auth):
        yield desk


async def read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, key: str, *script: Step
) -> tuple[TrackerItem | Exception, FaultyServer]:
    """What a flow gets that reads a card from a Plane with these faults in front of it."""

    @flow
    async def reading() -> TrackerItem:
        return await AT_ONCE("SHOP", key)

    with faulty_server(script, behind=desk.sandbox.plane_url) as plane:
        async with PlaneClient(plane.url, desk.settings.plane_workspace, SecretStr("plane-bot-token")) as client:
            monkeypatch.setattr(services, "_made", [replace(desk.root, tracker=client)])
            try:
                return await reading(), plane
            except (Refused, Unavailable) as error:
                return error, plane


@pytest.mark.prefect
async def test_what_may_pass_is_asked_again_and_what_was_refused_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = desk.card()
    soon = {"Retry-After": "0"}
    table: list[tuple[list[Step], type[object], int]] = [
        ([answer(500), drop(), answer(429, {}, soon)], TrackerItem, 4),
        ([answer(500)] * 4, Unavailable, 4),
        ([answer(429, {}, {"Retry-After": "3000"})], Unavailable, 1),
        ([answer(403, {"detail": "bad key"})], Refused, 1),
        ([answer(404, {"error": "The requested resource does not exist."})], Missing, 1),
    ]
    seen = [await read(desk, monkeypatch, card.key, *script) for script, _, _ in table]
    assert [(type(got), len(plane.requests)) for got, plane in seen] == [(kind, asked) for _, kind, asked in table]
