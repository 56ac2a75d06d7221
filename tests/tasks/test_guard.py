"""What a person keeps aside on the board is left alone; what cannot be told, too."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.counting import counted_requests
from deployments.sandbox.client import SandboxClient
from pipeline.stages import Stage
from pipeline.store import counters
from tasks.guard import Guard
from tasks.polling import poll_board
from tests.support.services import Desk, open_desk


@pytest.mark.parametrize("state", ["Blocked", "Needs Input", "Awaiting Deploy", "Deploying", "Monitoring"])
async def test_a_card_that_a_person_put_aside_is_left_alone(desk: Desk, state: str) -> None:
    item = desk.item(Stage.TESTING, desk.card(state=state))
    assert await Guard(desk.root)(item) == f"its card stands in {state.lower().replace(' ', '_')}"
    assert desk.store.read(counters.totals)[counters.LEFT_ALONE] == 1


async def test_a_card_that_is_worked_on_is_not(desk: Desk) -> None:
    assert await Guard(desk.root)(desk.item(Stage.TESTING, desk.card(state="Testing"))) is None


async def test_what_orch_itself_shows_keeps_nobody_from_healing(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, desk.card(state="Awaiting Deploy"), shown="awaiting_deploy")
    assert await Guard(desk.root)(item) is None


async def test_a_state_that_cannot_be_read_leaves_the_item_alone(desk: Desk) -> None:
    item = desk.item(Stage.TESTING, desk.card(state="Testing"))
    desk.sandbox.fail_next("plane", 1, status=503)
    assert "cannot be told" in str(await Guard(desk.root)(item))


async def test_of_a_card_that_is_gone_people_are_told_once_for_each_item(desk: Desk) -> None:
    gone = [desk.item(Stage.TESTING) for _ in range(2)]
    with desk.sandbox.plane_api() as plane:
        for item in gone:
            plane.delete(f"/projects/{desk.project.plane_project}/work-items/{item.tracker_id}/").raise_for_status()
    for _tick in range(2):
        guard = Guard(desk.root)
        for item in gone:
            assert str(await guard(item)).startswith("its card is gone")
        desk.clock.forward(60)
    told = [letter for letter in desk.letters if letter.kind == "message"]
    assert [letter.item_key for letter in told] == [item.key for item in gone]
    assert f"orch stop {gone[0].key}" in told[0].payload["html"]


async def test_switched_off_it_makes_no_call(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, reconcile_skip_blocked_enabled=False) as desk:
        item = desk.item(Stage.TESTING, desk.card(state="Blocked"))
        with counted_requests({}) as requests:
            assert await Guard(desk.root)(item) is None
        assert requests == {}


async def test_the_last_look_through_the_board_counts_while_it_is_fresh(desk: Desk) -> None:
    card = desk.card(state="Blocked")
    item = desk.item(Stage.TESTING, card)
    await poll_board(desk.root, desk.project)
    with counted_requests({}) as requests:
        assert await Guard(desk.root)(item) == "its card stands in blocked"
    assert requests == {}
    await asyncio.to_thread(desk.sandbox.move_card, card.key, "Testing")
    desk.clock.forward(91)
    assert await Guard(desk.root)(item) is None


async def test_a_project_whose_cards_cannot_be_read_is_asked_once_a_tick(desk: Desk) -> None:
    guard = Guard(desk.root)
    desk.sandbox.fail_next("plane", 1, status=503)
    items = [desk.item(Stage.TESTING, desk.card(state="Testing")) for _ in range(3)]
    with counted_requests({}) as requests:
        assert all([await guard(item) for item in items])
    assert requests == {"other": 1}
