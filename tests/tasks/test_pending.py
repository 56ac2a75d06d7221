"""Deliveries that nobody could understand when they came: what they lack is asked for, and then they are resolved."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from pipeline.signals import Signal
from pipeline.store import deliveries
from tasks.inbox import Received, resolve
from tasks.pending import resolve_pending
from tests.support.deliveries import OWN, plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk, open_desk

NEW_STATE = "5e1f2a00-0000-4000-8000-000000000000"


@pytest.fixture
async def cold(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk that knows no states yet."""
    async with open_desk(sandbox, tmp_path) as desk:
        yield desk


@pytest.fixture
async def desk(cold: Desk) -> Desk:
    """A desk that knows the project's states."""
    await cold.root.states.of(cold.project)
    return cold


async def test_however_many_deliveries_are_pending_all_are_tried(desk: Desk) -> None:
    told = json.loads(plane_moved(desk, desk.card(), "Backlog"))
    for number in range(101):
        told["data"]["updated_at"] = str(number)
        plane_says(desk, json.dumps(told).encode(), own=None)
    assert len(desk.deliveries) == 101
    await resolve_pending(desk.root, OWN)
    assert desk.store.read(deliveries.pending) == []


async def test_a_delivery_that_comes_before_the_states_are_known_is_resolved_once_they_are(cold: Desk) -> None:
    card = cold.card()
    cold.sandbox.fail_next("plane", 1, status=503, match="states")
    assert plane_says(cold, plane_moved(cold, card, "To Analyse")).stored
    assert await resolve_pending(cold.root, OWN) == ()
    assert (len(cold.store.read(deliveries.pending)), cold.signals) == (1, [])
    assert await resolve_pending(cold.root, OWN) == (card.key,)
    assert (cold.store.read(deliveries.pending), len(cold.signals)) == ([], 1)
    assert await resolve_pending(cold.root, OWN) == ()


@pytest.mark.parametrize("untold", [["sequence_id", "name"], ["sequence_id", "name", "project"]])
async def test_what_an_older_plane_does_not_tell_is_read_from_it(desk: Desk, untold: list[str]) -> None:
    card = desk.card()
    body = json.loads(plane_moved(desk, card, "To Analyse"))
    for field in untold:
        del body["data"][field]
    assert plane_says(desk, json.dumps(body).encode()).stored
    assert desk.signals == []
    assert await resolve_pending(desk.root, OWN) == (card.key,)
    [signal] = desk.signals
    assert (signal.signal, signal.item_key, signal.payload["title"]) == ("start_requested", card.key, card.title)


async def test_a_card_of_no_project_of_ours_is_given_up(desk: Desk) -> None:
    body = json.loads(plane_moved(desk, desk.card(), "To Analyse"))
    body["data"] = {"id": NEW_STATE, "state": body["data"]["state"]["id"]}
    plane_says(desk, json.dumps(body).encode())
    assert await resolve_pending(desk.root, OWN) == ()
    assert [row.note for row in desk.deliveries] == ["no project is unknown to Orch"]
    assert desk.store.read(deliveries.pending) == []


async def test_a_delivery_that_comes_before_we_know_ourselves_is_judged_later(desk: Desk) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse", actor_id="bot-id")
    assert plane_says(desk, body, own=None).stored
    assert desk.signals == []
    await resolve_pending(desk.root, OWN)
    assert [row.note for row in desk.deliveries] == ["our own change"]


async def test_a_plane_that_refuses_its_states_leaves_the_delivery_pending(cold: Desk) -> None:
    cold.sandbox.fail_next("plane", 1, status=403, match="states")
    plane_says(cold, plane_moved(cold, cold.card(), "To Analyse"))
    await resolve_pending(cold.root, OWN)
    assert len(cold.store.read(deliveries.pending)) == 1


async def test_a_state_that_the_list_lacks_is_looked_up_once_more_before_it_is_given_up(desk: Desk) -> None:
    plane_says(desk, plane_moved(desk, desk.card(), "Approved", state_id=NEW_STATE))
    assert len(desk.store.read(deliveries.pending)) == 1
    asked = desk.sandbox.state().requests["plane"]
    await resolve_pending(desk.root, OWN)
    assert desk.sandbox.state().requests["plane"] == asked + 1
    assert [row.note for row in desk.deliveries] == [f"ignored: Plane project SHOP has no state {NEW_STATE}."]
    assert desk.signals == []


async def test_an_unknown_state_stays_pending_while_the_list_cannot_be_read_again(desk: Desk) -> None:
    plane_says(desk, plane_moved(desk, desk.card(), "Approved", state_id=NEW_STATE))
    desk.sandbox.fail_next("plane", 1, status=502, match="states")
    await resolve_pending(desk.root, OWN)
    assert len(desk.store.read(deliveries.pending)) == 1


async def test_one_delivery_that_cannot_be_understood_holds_up_no_other(desk: Desk) -> None:
    card = desk.card()
    plane_says(desk, plane_moved(desk, desk.card(), "Approved", state_id=NEW_STATE))
    plane_says(desk, plane_moved(desk, card, "To Analyse"), own=None)
    desk.sandbox.fail_next("plane", 1, status=502, match="states")
    assert await resolve_pending(desk.root, OWN) == (card.key,)


async def test_two_who_resolve_at_once_store_one_signal(desk: Desk) -> None:
    plane_says(desk, plane_moved(desk, desk.card(), "To Analyse"), own=None)
    [pending] = desk.store.read(deliveries.pending)
    assert resolve(desk.root, pending, OWN) is not None
    second = resolve(desk.root, pending, OWN)
    assert second == Received(False, "Resolved before.")
    assert [signal.signal for signal in desk.signals] == [Signal.START_REQUESTED]
