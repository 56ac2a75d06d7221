"""A machine is looked at without a run, as long as it has nothing to say."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Running

from benchmarks.counting import counted_requests
from deployments.sandbox.client import SandboxClient
from flows.reconcile import PARTS, reconcile
from pipeline.clients.process_identity import identity
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import counters, crashes, due, items, leases, reactions, suspicions, waits
from pipeline.store.due import Standing
from tasks import due_items, ownership, services
from tasks.healing import heal_one
from tasks.looks import Observed
from tasks.reclaiming import ZOMBIE_AFTER, end_zombies, reclaim_dead
from tests.pipeline.store.helpers import HERE, claimed
from tests.support.services import Desk, open_desk


def waits_for_ci(desk: Desk) -> tuple[WorkItem, Wait]:
    tip = desk.sandbox.repository().main
    item = desk.item(Stage.DEVELOPMENT, tip=tip, head=tip)
    now = desk.clock.now
    wait = desk.store.write(
        waits.begin, item, WaitKind.CI, key=f"ci-{item.key}", sentence="CI", now=now, look_again_at=now
    )
    return item, wait


async def test_ci_that_says_nothing_costs_one_call_and_no_run(desk: Desk) -> None:
    item, wait = await asyncio.to_thread(waits_for_ci, desk)
    with counted_requests({desk.sandbox.gitea_url: "gitea"}) as requests:
        assert await heal_one(desk.root, Standing(item, wait), Observed({}, {})) is None
    assert requests == {"gitea": 1}
    again = desk.wait_of(item)
    assert again is not None
    assert again.look_again_at == desk.clock.now + timedelta(seconds=desk.settings.ci_look_again_s)


async def test_a_forge_that_is_away_is_asked_again_later(desk: Desk) -> None:
    item, wait = await asyncio.to_thread(waits_for_ci, desk)
    desk.sandbox.fail_next("gitea", 1, status=503)
    assert await heal_one(desk.root, Standing(item, wait), Observed({}, {})) is None


def test_at_the_start_the_dead_are_reclaimed_at_once_and_the_living_are_left(desk: Desk) -> None:
    first, second = desk.item(Stage.REVIEW), desk.item(Stage.TESTING)
    for item in (first, second):
        claimed(desk.store, item, run=f"run-{item.id}", now=desk.clock.now)
    lives, went, texts = lambda _: True, lambda _: False, desk.root.texts
    assert desk.store.write(reclaim_dead, desk.clock.now, lives, went, texts) == []
    assert desk.store.write(reclaim_dead, desk.clock.now, went, went, texts) == [first.key, second.key]
    assert [(row.payload["event"], row.payload["stage"]) for row in desk.letters] == [
        ("orch.stage.entered", "review"), ("orch.stage.entered", "testing"),
    ]  # fmt: skip
    assert desk.store.write(reclaim_dead, desk.clock.now, went, went, texts) == []


def dies(desk: Desk, item: WorkItem) -> Standing:
    """The item with the owner that it had when its run died."""
    claimed(desk.store, item, run=f"run-{item.id}", now=desk.clock.now - timedelta(minutes=5))
    found = desk.store.read(due.standing, item.key)
    assert found is not None
    return found


def hold(desk: Desk, item: WorkItem) -> None:
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "the repository is gone", desk.clock.now)


async def test_the_dead_owner_of_a_held_item_is_buried_and_nothing_starts(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    hold(desk, item)
    assert await heal_one(desk.root, dies(desk, item), Observed({}, {})) == "its run died; the item is held"
    assert (desk.store.read(leases.owners), desk.again(item).hold) == ([], Hold.BLOCKED)
    assert desk.store.read(counters.totals)[counters.STARTED] == 0


async def test_a_held_item_whose_run_was_cancelled_in_prefect_stays_held_for_its_own_reason(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    hold(desk, item)
    run = FlowRun(flow_id=uuid4(), state=Cancelled(), state_type=StateType.CANCELLED)
    seen = Observed({}, {f"run-{item.id}": run})
    assert await heal_one(desk.root, dies(desk, item), seen) == "its run died; the item is held"
    assert desk.again(item).hold_reason == "the repository is gone"


async def test_a_dead_owner_is_buried_in_a_project_whose_breaker_is_open(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    for _ in range(crashes.TOO_MANY):
        desk.store.write(crashes.count, item, desk.clock.now)
    assert await heal_one(desk.root, dies(desk, item), Observed({}, {})) == "its run died; its project is frozen"
    assert desk.store.read(leases.owners) == []


async def test_the_dead_owner_of_an_item_that_is_being_stopped_is_left_to_the_stop(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    assert await heal_one(desk.root, dies(desk, item), Observed({}, {})) is None
    assert len(desk.store.read(leases.owners)) == 1


async def test_the_held_and_the_stopped_come_after_what_can_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_items, "AT_ONCE", 1)
    stopped, held, going = (desk.item(Stage.REVIEW) for _ in range(3))
    for item in (stopped, held, going):
        dies(desk, item)
    hold(desk, held)
    desk.store.write(reactions.request_stop, stopped, desk.clock.now)
    groups, _ = desk.store.read(due_items._find, desk.root)
    assert [one.item.key for group in groups for one in group] == [going.key]


async def test_only_a_living_owner_keeps_its_run_from_being_taken_for_a_zombie(desk: Desk) -> None:
    living, dead = desk.item(Stage.REVIEW), desk.item(Stage.REVIEW)
    begun = []
    for item, process in ((living, identity(os.getpid())), (dead, HERE)):
        run = FlowRun(flow_id=uuid4(), state=Running(timestamp=desk.clock.now - timedelta(minutes=5)))
        begun.append(run.model_copy(update={"state_type": StateType.RUNNING}))
        desk.store.write(
            leases.claim, item.id, flow_run_id=str(run.id), stage=item.stage, token=str(run.id), process=process,
            now=desk.clock.now - timedelta(minutes=1), ttl=30, alive=lambda _: True,
        )  # fmt: skip
    assert await end_zombies(desk.root, begun) == 0
    looked_again = desk.clock.now + ZOMBIE_AFTER
    suspects = {str(run.id) for run in begun}
    confirmed = desk.store.write(suspicions.confirmed, "RUNNING run", suspects, looked_again, after=ZOMBIE_AFTER)
    assert set(confirmed) == {str(begun[1].id)}


def test_a_project_whose_runs_die_again_and_again_is_frozen_with_one_message(desk: Desk) -> None:
    items = [desk.item(Stage.REVIEW, failures=1) for _ in range(crashes.TOO_MANY + 1)]
    claims = [ownership.claim(desk.root, item.key, item.stage, f"run-{item.id}") for item in items]
    names = [claim.name if isinstance(claim, ownership.NotNow) else "claimed" for claim in claims]
    assert names == ["claimed"] * 4 + ["Frozen"] * 2
    frozen = [row for row in desk.letters if row.kind == "message" and "frozen" in row.payload["html"]]
    assert len(frozen) == 1
    assert "orch thaw SHOP" in frozen[0].payload["html"]


async def test_switched_off_the_tick_makes_no_call_at_all(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk(sandbox, tmp_path, reconcile_enabled=False) as desk:
        desk.item(Stage.REVIEW)
        desk.clock.forward(600)
        monkeypatch.setattr(services, "_made", [desk.root])
        with counted_requests({}) as requests:
            state = await reconcile.fn()
        assert (state.name, requests) == ("Off", {})


@pytest.mark.parametrize(("enabled", "peers"), [(True, {"plane", "gitea"}), (False, {"gitea"})])
async def test_with_polling_of_plane_switched_off_no_call_goes_there(
    sandbox: SandboxClient, tmp_path: Path, enabled: bool, peers: set[str]
) -> None:
    polls = next(part for part in PARTS if part.__name__ == "_polls")
    async with open_desk(sandbox, tmp_path, reconcile_plane_enabled=enabled) as desk:
        with counted_requests({desk.sandbox.plane_url: "plane", desk.sandbox.gitea_url: "gitea"}) as requests:
            await polls(desk.root)
    assert set(requests) == peers
