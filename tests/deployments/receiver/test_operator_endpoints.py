"""Operator endpoints are off without a token, closed without the right one, and do what the command does."""

import httpx
import pytest
from pydantic import SecretStr

from pipeline.stages import Stage
from pipeline.store import freezes, leases
from tests.pipeline.store.helpers import NOW, claimed
from tests.support.services import Desk

TOKEN = "a-long-token"
RELEASE = "/transition-lease/release"


@pytest.fixture
def switched_on(desk: Desk) -> None:
    settings = desk.settings.model_copy(update={"operator_token": SecretStr(TOKEN)})
    object.__setattr__(desk.root, "settings", settings)


async def test_without_a_token_in_the_settings_the_endpoint_is_off(door: httpx.AsyncClient) -> None:
    answer = await door.post(RELEASE, params={"work_item": "SHOP-1"}, headers={"Authorization": "Bearer "})
    assert answer.status_code == 404
    assert "ORCH_OPERATOR_TOKEN" in answer.json()["message"]


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", TOKEN, "Bearer ünicode"])
async def test_without_the_right_token_nothing_happens(
    switched_on: None, door: httpx.AsyncClient, desk: Desk, header: str | None
) -> None:
    item = desk.item()
    claimed(desk.store, item)
    headers = {"Authorization": header.encode()} if header else {}
    answer = await door.post(RELEASE, params={"work_item": item.key}, headers=headers)
    assert answer.status_code == 403
    assert desk.store.read(leases.owner, item.id) is not None


async def test_with_the_token_the_lease_is_released(switched_on: None, door: httpx.AsyncClient, desk: Desk) -> None:
    item = desk.item()
    claimed(desk.store, item, now=NOW)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await door.post(RELEASE, params={"work_item": item.key}, headers=headers)
    assert (answer.status_code, "was taken away from run run-1" in answer.json()["message"]) == (200, True)
    assert desk.store.read(leases.owner, item.id) is None
    unknown = await door.post(RELEASE, params={"work_item": "SHOP-9999"}, headers=headers)
    assert unknown.status_code == 409


async def test_the_queue_explains_every_item_and_shows_freezes(door: httpx.AsyncClient, desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY)
    desk.store.write(freezes.freeze, "SHOP", actor="ada", why="release day", now=desk.clock.now)
    told = (await door.get("/queue")).json()
    assert told["items"][0]["explained"]["waits_for"] == f"Its next run at {item.stage}."
    assert "frozen by ada" in told["items"][0]["explained"]["then"]
    assert told["freezes"][0].endswith("release day")
    assert told["active"] == {"SHOP": []}
