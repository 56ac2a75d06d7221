"""Entering a stage: relations are read when they may have changed, and what keeps an item out is written down."""

from datetime import timedelta
from typing import Any

import pytest

from benchmarks.counting import counted_requests
from flows import deploy
from flows.run import Run
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import dependencies, due, freezes, journal, outbox, waits
from pipeline.store.due import Standing
from tasks import cards, due_items, entrance, healing, looks
from tasks.ownership import Claimed, NotNow, claim, release
from tasks.polling import poll_board
from tests.support.deliveries import plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk

BOTH = (dependencies.BY_HAND, dependencies.FROM_TRACKER)


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def with_settings(desk: Desk, **changes: Any) -> None:
    object.__setattr__(desk.root, "settings", desk.settings.model_copy(update=changes))


def with_limit(desk: Desk, limit: int) -> None:
    project = desk.project.model_copy(update={"max_active_items": limit})
    object.__setattr__(desk.root, "projects", type(desk.root.projects)((project,)))


def enters(desk: Desk, item: WorkItem, run: str = "run-1") -> Claimed | NotNow:
    return claim(desk.root, item.key, item.stage, run)


def blockers(desk: Desk, item: WorkItem) -> list[str]:
    return [blocker.key for blocker in desk.store.read(dependencies.unfinished, item.key, BOTH)]


def woken(desk: Desk) -> list[str]:
    rows = [row for row in desk.letters if row.kind == outbox.Kind.EVENT and row.payload["event"] == "orch.wake"]
    return [row.item_key for row in rows]


# --- the claim


def test_an_item_that_is_kept_out_waits_without_an_owner_and_the_reason_is_there(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    desk.store.write(dependencies.add, item.key, other.key, "db", desk.clock.now)
    kept = enters(desk, item)
    assert kept == NotNow("Waiting for what it depends on", f"It waits for {other.key} (at analysis).")
    wait = desk.wait_of(item)
    assert wait is not None
    assert (wait.kind, wait.sentence) == (WaitKind.DEPENDENCY, f"It waits for {other.key} (at analysis).")
    desk.move(other, Stage.DONE)
    assert woken(desk) == [item.key]
    assert isinstance(enters(desk, item), Claimed)


def test_the_live_message_says_that_an_item_waits_to_be_let_in_and_no_longer_once_it_is(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    desk.store.write(dependencies.add, item.key, other.key, "db", desk.clock.now)
    enters(desk, item)
    assert cards_due(desk, item) == 1
    assert f"It waits for {other.key}" in shown(desk, item)
    desk.move(other, Stage.DONE)
    assert isinstance(enters(desk, item), Claimed)
    assert cards_due(desk, item) == 1
    assert "It waits for" not in shown(desk, item)
    assert desk.wait_of(item) is None


def cards_due(desk: Desk, item: WorkItem) -> int:
    """How many letters for the live message are in the box; they are taken out."""
    desk.clock.forward(2)
    return [letter.kind for letter in desk.store.write(outbox.claim, desk.clock.now, item_key=item.key)].count(
        outbox.Kind.CARD
    )


def shown(desk: Desk, item: WorkItem) -> str:
    return cards.render(desk.root, desk.store.read(cards._look, item.key))


def test_nobody_is_reminded_of_a_wait_while_a_run_is_at_its_end(desk: Desk) -> None:
    """A wait stays open while its machine is looked at again; that look may have turned into an hour's work."""
    item = desk.item(Stage.REVIEW)
    soon = desk.clock.now + timedelta(seconds=5)
    desk.store.write(
        waits.begin, item, WaitKind.BACK_OFF, key="b", sentence="Gitea is away", now=desk.clock.now, deadline=soon
    )
    run = enters(desk, item)
    assert isinstance(run, Claimed)
    desk.clock.forward(10)
    assert desk.store.read(due.overdue, desk.clock.now, limit=10) == []
    release(desk.store, run, desk.clock.now, in_order=True)
    assert [found.key for _, found in desk.store.read(due.overdue, desk.clock.now, limit=10)] == [item.key]


def test_waiting_longer_does_not_begin_the_wait_anew(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    desk.store.write(dependencies.add, item.key, other.key, "db", desk.clock.now)
    enters(desk, item, "run-1")
    first = desk.wait_of(item)
    desk.clock.forward(600)
    enters(desk, item, "run-2")
    again = desk.wait_of(item)
    assert first is not None
    assert again is not None
    assert (again.id, again.since, again.deadline) == (first.id, first.since, first.deadline)


def test_a_cycle_blocks_the_item_and_the_alert_names_it(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    for one, on in ((item, other), (other, item)):
        desk.store.write(dependencies.add, one.key, on.key, "plane", desk.clock.now)
    assert isinstance(enters(desk, item), NotNow)
    assert desk.again(item).hold is Hold.BLOCKED
    [message] = [row.payload["html"] for row in desk.letters if row.kind == outbox.Kind.MESSAGE]
    assert f"{item.key} waits for {other.key} waits for {item.key}" in message


def test_a_full_project_keeps_the_next_item_out_until_one_ends(desk: Desk) -> None:
    with_limit(desk, 1)
    first, second = desk.item(Stage.DEVELOPMENT), desk.item(Stage.ARCHITECTURE)
    assert isinstance(enters(desk, first), Claimed)
    kept = enters(desk, second)
    assert isinstance(kept, NotNow)
    assert kept.name == "Waiting for a place in its project"
    assert f"now {first.key}" in kept.sentence


def test_with_dependencies_switched_off_none_holds_an_item_back(desk: Desk) -> None:
    with_settings(desk, task_deps_enabled=False)
    item, other = desk.item(), desk.item()
    desk.store.write(dependencies.add, item.key, other.key, "db", desk.clock.now)
    assert isinstance(enters(desk, item), Claimed)


def test_with_ownership_switched_off_a_second_run_takes_a_living_ones_item_over(desk: Desk) -> None:
    item = desk.item()
    assert isinstance(enters(desk, item, "run-1"), Claimed)
    refused = enters(desk, item, "run-2")
    assert isinstance(refused, NotNow)
    assert refused.owner == "run-1"
    with_settings(desk, transition_lease_enabled=False)
    desk.clock.forward(desk.settings.crash_backoff_s[0] + 1)
    assert isinstance(enters(desk, item, "run-2"), Claimed)


# --- the tracker's relations


async def test_relations_are_read_from_the_card_and_kept(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    stranger = desk.card("Not ours", state="Backlog")
    desk.sandbox.block(item.key, by=[other.key, stranger.key])
    await entrance.refresh(desk.root, item.key)
    assert sorted(blockers(desk, item)) == sorted([other.key, stranger.key])


async def test_relations_are_read_again_only_when_the_card_has_changed(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    await entrance.refresh(desk.root, item.key)
    desk.sandbox.fail_next("plane", 1000, status=500, match="/relations/")
    await entrance.refresh(desk.root, item.key)
    desk.sandbox.clear_faults()
    desk.sandbox.block(item.key, by=[other.key])
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == [other.key]


async def test_a_relation_that_cannot_be_read_counts_as_ready_and_is_asked_again(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    desk.sandbox.block(item.key, by=[other.key])
    desk.sandbox.fail_next("plane", 1000, status=500, match="/relations/")
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == []
    desk.sandbox.clear_faults()
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == [other.key]


async def test_a_blocking_issue_that_cannot_be_read_keeps_nobody_waiting_and_the_others_count(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    stranger = desk.card("Not ours", state="Backlog")
    desk.sandbox.block(item.key, by=[other.key, stranger.key])
    desk.sandbox.fail_next("plane", 1000, status=404, match=stranger.id)
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == [other.key]


@pytest.mark.parametrize("off", [{"task_deps_enabled": False}, {"task_deps_source": "db"}])
async def test_switched_off_or_from_the_database_no_call_is_made(desk: Desk, off: dict[str, Any]) -> None:
    with_settings(desk, **off)
    item, other = desk.item(), desk.item()
    desk.sandbox.block(item.key, by=[other.key])
    await desk.root.tracker.aclose()  # type: ignore[attr-defined]  # any call would now raise
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == []


async def test_the_priority_is_the_cards(desk: Desk) -> None:
    item = desk.item()
    with desk.sandbox.plane_api() as plane:
        path = f"projects/{desk.project.plane_project}/work-items/{item.tracker_id}/"
        plane.patch(path, json={"priority": "urgent"}).raise_for_status()
    await entrance.refresh(desk.root, item.key)
    assert desk.again(item).priority == "urgent"


async def test_an_issue_of_a_project_that_is_not_orchs_keeps_an_item_waiting_until_it_is_done(desk: Desk) -> None:
    item = desk.item()
    desk.sandbox.add_project("OPS", "acme/ops")
    blocker = desk.sandbox.create_card("Buy a server", "Nobody but people work on this.", project="OPS")
    desk.sandbox.block(item.key, by=[blocker])
    await entrance.refresh(desk.root, item.key)
    assert blockers(desk, item) == [blocker]
    assert not desk.store.read(entrance._unchanged, desk.root, item)  # nobody looks through its board
    desk.sandbox.move_card(blocker, "Done")
    await entrance.refresh(desk.root, item.key)
    assert desk.store.read(dependencies.unfinished, item.key, ("plane",)) == ()


async def test_a_stranger_that_a_webhook_says_is_done_wakes_who_waits_for_it(desk: Desk) -> None:
    item, stranger = desk.item(), desk.card("Not ours", state="Backlog")
    desk.sandbox.block(item.key, by=[stranger.key])
    await entrance.refresh(desk.root, item.key)
    enters(desk, item)
    plane_says(desk, plane_moved(desk, stranger, "Done"))
    assert woken(desk) == [item.key]
    assert blockers(desk, item) == []


async def test_a_stranger_whose_webhook_is_lost_is_asked_about_when_it_is_time(desk: Desk) -> None:
    item, stranger = desk.item(), desk.card("Not ours", state="Backlog")
    desk.sandbox.block(item.key, by=[stranger.key])
    await entrance.refresh(desk.root, item.key)
    enters(desk, item)
    desk.sandbox.move_card(stranger.key, "Done")
    wait = desk.wait_of(item)
    assert wait is not None
    assert not await entrance.opens(desk.root, item, wait, entrance.Patience())
    desk.clock.forward(desk.settings.ci_look_again_s + 1)
    assert await entrance.opens(desk.root, item, wait, entrance.Patience())


async def test_who_still_has_to_wait_gets_no_run(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    desk.store.write(dependencies.add, item.key, other.key, "db", desk.clock.now)
    enters(desk, item)
    wait = desk.wait_of(item)
    assert wait is not None
    for _ in range(2):
        assert not await entrance.opens(desk.root, item, wait, entrance.Patience())


# --- healing


async def test_a_frozen_item_is_due_once_the_freeze_is_over(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY)
    desk.store.write(freezes.freeze, "SHOP", actor="ada", why="release", now=desk.clock.now)
    wait = desk.store.write(waits.begin, item, WaitKind.FREEZE, key="f", sentence="frozen", now=desk.clock.now)
    assert not await looks.due(desk.root, item, wait, looks.Observed({}, {}), desk.clock.now)
    desk.store.write(freezes.thaw, "SHOP", desk.clock.now)
    assert await looks.due(desk.root, item, wait, looks.Observed({}, {}), desk.clock.now)


# --- freezes


def at_deploy(desk: Desk) -> Run:
    item = desk.item(Stage.DEPLOY, validated="a" * 40)
    entered = enters(desk, item)
    assert isinstance(entered, Claimed)
    return Run(desk.root, entered.item, desk.project, entered.lease, "run-1")


async def test_a_freeze_keeps_an_item_from_landing_and_says_who_and_why(desk: Desk) -> None:
    run = at_deploy(desk)
    assert await deploy._frozen(run) is None
    desk.store.write(freezes.freeze, "SHOP", actor="ada", why="release day", now=desk.clock.now)
    kept = await deploy._frozen(run)
    assert kept is not None
    assert (kept.kind, "frozen by ada" in kept.sentence) == (WaitKind.FREEZE, True)


async def test_a_landing_that_was_begun_is_seen_through_in_spite_of_a_freeze(desk: Desk) -> None:
    run = at_deploy(desk)
    desk.store.write(journal.start, run.item, "land", run.lease, subject="a" * 40, now=desk.clock.now)
    desk.store.write(freezes.freeze, "", actor="ada", why="release day", now=desk.clock.now)
    assert await deploy._frozen(run) is None


# --- how often Plane is asked


async def waiting(desk: Desk, number: int = 1) -> list[Standing]:
    """Items whose relations were read, that wait for another one, and whose time to look again has come."""
    other, found = desk.item(), []
    for item in [desk.item() for _ in range(number)]:
        desk.sandbox.block(item.key, by=[other.key])
        await entrance.refresh(desk.root, item.key)
        desk.store.write(
            waits.begin, item, WaitKind.DEPENDENCY, key=f"d-{item.key}", sentence="waits", now=desk.clock.now,
            look_again_at=desk.clock.now,
        )  # fmt: skip
        found.append(Standing(item, desk.wait_of(item)))
    return found


async def test_a_card_that_the_board_shows_unchanged_is_not_asked_for_again(desk: Desk) -> None:
    [one] = await waiting(desk)
    await poll_board(desk.root, desk.project)
    with counted_requests({}) as requests:
        assert await healing.heal_one(desk.root, one, looks.Observed({}, {})) is None
    assert requests["other"] == 0

    another = desk.item()
    desk.sandbox.block(one.item.key, by=[another.key])
    await poll_board(desk.root, desk.project)
    assert await healing.heal_one(desk.root, one, looks.Observed({}, {})) is None
    assert another.key in blockers(desk, one.item)


async def test_without_a_look_through_the_board_the_card_itself_is_asked_for(desk: Desk) -> None:
    [one] = await waiting(desk)
    await poll_board(desk.root, desk.project)
    desk.clock.forward(600)
    with counted_requests({}) as requests:
        assert await healing.heal_one(desk.root, one, looks.Observed({}, {})) is None
    assert requests["other"] == 1


async def test_a_plane_that_hangs_is_asked_about_one_waiting_item_a_tick(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, seen = await waiting(desk, 3), looks.Observed({}, {})
    desk.clock.forward(600)
    monkeypatch.setattr(entrance, "ASK_S", 0.3)
    desk.sandbox.hang("plane")
    with counted_requests({}) as requests:
        for one in found:
            assert await healing.heal_one(desk.root, one, seen) is None
    assert requests["other"] == 1


def test_one_item_has_time_for_a_plane_that_hangs() -> None:
    assert entrance.ASK_S < due_items.ITEM_S
