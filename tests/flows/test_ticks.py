"""What a tick does about items, asked of a real Prefect server: a handful of calls, however many items there are."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.input.run_input import keyset_from_paused_state
from prefect.states import Cancelled, Cancelling, Completed, Pending, Running, Suspended

from benchmarks.counting import counted_requests
from deployments import operator
from deployments.limits import ensure_merge_limit
from deployments.pools import AGENTS, end_never_begun
from deployments.prefect_server import PrefectServer, wait_until_healthy
from deployments.registration import register
from deployments.sandbox.client import SandboxClient
from deployments.stack import end_lost
from flows import reconcile
from pipeline.clients.process_identity import alive, identity
from pipeline.model import Choice, Decision, Hold, ProcessIdentity, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import counters, due, inbox, items, leases, reactions, waits
from pipeline.store.due import Standing
from tasks import prefect_api
from tasks.due_items import heal_due, stop_due
from tasks.healing import heal_one
from tasks.looks import observe
from tasks.reclaiming import CONTROL_MAX, PENDING_MAX, end_lost_runs, free_leaked_locks
from tests.support.prefect_address import talking_to
from tests.support.services import Desk, open_desk


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path, prefect_server: PrefectServer) -> AsyncIterator[Desk]:
    """A desk on a Prefect server that knows the deployments and has no runs; no worker takes what is started."""
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    async with open_desk(sandbox, tmp_path, reconcile_skip_blocked_enabled=False) as opened:
        with talking_to(prefect_server.url, prefect_server.auth):
            async with get_client() as client:
                await register(client, registry=opened.settings.registry(), agents_limit=1)
                for run in await client.read_flow_runs(limit=200):
                    await client.delete_flow_run(run.id)
            opened.store.write(counters.count, counters.TICKS)
            yield opened


async def run_of(item: WorkItem, state: State[Any] | None = None) -> str:
    """A run of the item's stage, in a state."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{item.stage}/{item.stage}")
        run = await client.create_flow_run_from_deployment(deployment.id, parameters={"work_item": item.key})
        if state is not None:
            await client.set_flow_run_state(run.id, state, force=True)
        return str(run.id)


async def runs(item: WorkItem) -> list[FlowRun]:
    async with get_client() as client:
        return [run for run in await client.read_flow_runs(limit=200) if run.parameters.get("work_item") == item.key]


async def state_of(run_id: str) -> StateType | None:
    return (await prefect_api.states_of([run_id]))[run_id].state_type


def owned(desk: Desk, item: WorkItem, process: ProcessIdentity, run: str) -> None:
    desk.store.write(
        leases.claim, item.id, flow_run_id=run, stage=item.stage, token="token", process=process,
        now=desk.clock.now, ttl=30, alive=lambda _: True,
    )  # fmt: skip


async def asked(desk: Desk) -> WorkItem:
    """An item that asks a person in a suspended run."""
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL, run=await run_of(item, Suspended()))
    return item


async def test_the_number_of_calls_does_not_depend_on_the_number_of_items(desk: Desk) -> None:
    numbers: list[int] = []
    for more in (1, 12):
        for _ in range(more):
            await asked(desk)
        with counted_requests({}) as requests:
            assert await heal_due(desk.root) == []
        numbers.append(requests["other"])
    assert numbers[0] == numbers[1] <= 8  # four questions, each after a look at the server's version


async def test_an_abandoned_item_is_started_once(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    assert await heal_due(desk.root) == []
    desk.clock.forward(21)
    assert await heal_due(desk.root) == [f"{item.key}: started review again: no run was on its way"]
    assert await heal_due(desk.root) == []
    assert len(await runs(item)) == 1


async def test_a_suspended_run_that_vanished_is_made_anew(desk: Desk) -> None:
    item = await asked(desk)
    [run] = await runs(item)
    async with get_client() as client:
        await client.delete_flow_run(run.id)
    assert await heal_due(desk.root) == [f"{item.key}: started analysis again: its waiting run is gone"]
    assert desk.wait_of(item) is None


async def test_a_suspended_run_that_a_person_cancelled_holds_the_item(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL, run=await run_of(item, Cancelled()))
    assert await heal_due(desk.root) == [f"{item.key}: its waiting run was cancelled in Prefect"]
    assert desk.again(item).hold == "blocked"


async def run_of_control(flow: str, state: State[Any] | None = None) -> str:
    """A run of a flow that works no stage, which is said to go on."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{flow}/{flow}")
        run = await client.create_flow_run_from_deployment(deployment.id, parameters={"work_item": "SHOP-1"})
        await client.set_flow_run_state(run.id, state or Running(), force=True)
        return str(run.id)


async def test_a_wake_that_never_began_gives_its_slot_back_sooner(desk: Desk) -> None:
    lost, works = await run_of_control("wake", Pending()), await run_of_control("wake")
    desk.clock.catch_up()
    desk.clock.forward(PENDING_MAX.total_seconds())
    assert await heal_due(desk.root) == ["1 runs of control flows were buried"]
    assert [await state_of(run) for run in (lost, works)] == [StateType.CRASHED, StateType.RUNNING]


async def test_a_wake_that_died_with_its_worker_gives_its_slot_back(desk: Desk) -> None:
    """Four of them, and the pool would start nothing any more, the tick that heals included."""
    lost = await run_of_control("wake")
    assert await heal_due(desk.root) == []
    desk.clock.forward(2 * CONTROL_MAX.total_seconds())
    assert await heal_due(desk.root) == ["1 runs of control flows were buried"]
    assert await state_of(lost) is StateType.CRASHED


async def test_a_stop_that_owns_its_item_may_take_longer(desk: Desk) -> None:
    stops = await run_of_control("stop")
    owned(desk, desk.item(), identity(os.getpid()), stops)
    desk.clock.forward(2 * CONTROL_MAX.total_seconds())
    owners = desk.store.read(leases.owners)
    assert await end_lost_runs([prefect_api.CONTROL_TAG], owners, desk.clock.now, after=CONTROL_MAX) == 0
    assert await state_of(stops) is StateType.RUNNING


async def test_before_its_workers_are_up_nobody_works_on_a_server_of_orchs_own(desk: Desk) -> None:
    lost = [await run_of_control("wake"), await run_of(desk.item(Stage.DEPLOY), Running())]
    assert await end_lost([], ours=False) == 0
    assert await end_lost([], ours=True) == 2
    assert [await state_of(run) for run in lost] == [StateType.CRASHED] * 2


async def test_what_a_dead_worker_had_not_begun_gives_its_slot_back_before_the_next_worker_comes(desk: Desk) -> None:
    never_begun, begun, waits_its_turn, elsewhere = [
        await run_of(desk.item(stage), state)
        for stage, state in (
            (Stage.REVIEW, Pending()), (Stage.REVIEW, Running()), (Stage.REVIEW, None), (Stage.DEPLOY, Pending()),
        )
    ]  # fmt: skip
    assert await end_never_begun(AGENTS) == 1
    found = [await state_of(run) for run in (never_begun, begun, waits_its_turn, elsewhere)]
    assert found == [StateType.CRASHED, StateType.RUNNING, StateType.SCHEDULED, StateType.PENDING]


def suspended_to_ask(item: WorkItem) -> State[Any]:
    """As Orch suspends a run: with a form."""
    state = Suspended(pause_key=f"approval-{item.key}")
    state.state_details.run_input_keyset = keyset_from_paused_state(state)
    return state


async def cannot_be_resumed(desk: Desk) -> tuple[Standing, str]:
    """An item whose person decided long ago, and its run, which was killed between Suspended and its form."""
    item = desk.item()
    run = await run_of(item, suspended_to_ask(item))
    wait = desk.asks(item, WaitKind.APPROVAL, run=run)
    decision = Decision(WaitKind.APPROVAL, Choice.APPROVE, str(wait.commit), "ada", "", desk.clock.now)
    desk.store.write(waits.decide, item, decision)
    desk.store.write(waits.request_wake, item.id, desk.clock.now)
    desk.clock.forward(11)
    found = desk.store.read(due.standing, item.key)
    assert found is not None
    return found, run


async def test_a_run_that_cannot_be_resumed_is_replaced(desk: Desk) -> None:
    found, run = await cannot_be_resumed(desk)
    healed = await heal_one(desk.root, found, await observe([found]))
    assert healed == "started analysis again: its run could not be resumed (Run input schema not found.)"
    assert (await state_of(run), desk.wait_of(found.item)) == (StateType.CANCELLED, None)
    assert len(await runs(found.item)) == 2


async def test_of_an_item_that_is_left_alone_no_run_is_cancelled(desk: Desk) -> None:
    """The next look would take that for a person's doing, and hold the item."""

    async def left_alone(_item: WorkItem) -> str:
        return "its card stands in blocked"

    found, run = await cannot_be_resumed(desk)
    assert await heal_one(desk.root, found, await observe([found]), left_alone) is None
    assert await state_of(run) is StateType.PAUSED
    assert await heal_due(desk.root) != [f"{found.item.key}: its waiting run was cancelled in Prefect"]
    assert desk.again(found.item).hold is None


async def test_a_run_that_somebody_else_resumed_meanwhile_goes_on(desk: Desk) -> None:
    found, run = await cannot_be_resumed(desk)
    seen = await observe([found])
    async with get_client() as client:
        await client.set_flow_run_state(UUID(run), Running(), force=True)
    assert await heal_one(desk.root, found, seen) is None
    assert (await state_of(run), desk.wait_of(found.item)) == (StateType.RUNNING, found.wait)
    assert len(await runs(found.item)) == 1


async def cancel(run_id: str) -> None:
    """What a person's click on Cancel asks of the server, of a run that nobody has begun."""
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Cancelling())  # type: ignore[arg-type]  # takes text as well


async def test_a_scheduled_run_that_a_person_cancelled_holds_the_item_until_somebody_lets_it_go_on(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    await cancel(await run_of(item))
    desk.clock.forward(21)
    assert await heal_due(desk.root) == [f"{item.key}: its run was cancelled in Prefect"]
    assert (desk.again(item).hold, desk.again(item).hold_reason) == (Hold.BLOCKED, "Its run was cancelled in Prefect.")
    desk.store.write(items.unhold, item.id, reset=None)
    assert await heal_due(desk.root) == [f"{item.key}: started review again: no run was on its way"]


async def test_so_does_one_that_was_to_look_again_at_a_machine(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY)
    desk.store.write(
        waits.begin, item, WaitKind.MONITOR, key="m", sentence="watched", now=desk.clock.now,
        look_again_at=desk.clock.now,
    )  # fmt: skip
    await cancel(await run_of(item))
    assert await heal_due(desk.root) == [f"{item.key}: its run was cancelled in Prefect"]


async def test_a_cancelled_run_is_no_matter_while_another_is_on_its_way(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    await cancel(await run_of(item))
    await run_of(item)
    desk.clock.forward(21)
    assert await heal_due(desk.root) == []


async def test_a_run_that_was_cancelled_at_an_earlier_stage_or_by_orch_holds_nothing(desk: Desk) -> None:
    item, other = desk.item(Stage.REVIEW), desk.item(Stage.REVIEW)
    await cancel(await run_of(item))
    await prefect_api.cancel(await run_of(other), "It could not be resumed.")
    desk.clock.forward(60)
    desk.move(item, Stage.TESTING)
    desk.clock.forward(21)
    assert sorted(await heal_due(desk.root)) == [
        f"{item.key}: started testing again: no run was on its way",
        f"{other.key}: started review again: no run was on its way",
    ]


@pytest.mark.parametrize("number", [1, 4])
async def test_what_people_have_cancelled_is_asked_once_however_many_items_are_due(desk: Desk, number: int) -> None:
    for item in [desk.item(Stage.REVIEW) for _ in range(number)]:
        await cancel(await run_of(item))
    desk.clock.forward(60)
    with counted_requests({}) as requests:
        assert len(await heal_due(desk.root)) == number
    assert requests["other"] <= 8  # at most four questions, each after a look at the server's version


async def test_a_suspended_run_of_nobody_is_let_go(desk: Desk) -> None:
    item = desk.item()
    stranger = await run_of(item, suspended_to_ask(item))
    desk.clock.catch_up()
    desk.clock.forward(15)
    assert "1 suspended runs were let go" in await heal_due(desk.root)
    assert await state_of(stranger) is not StateType.PAUSED


async def test_a_run_that_a_person_suspends_stays_so_and_its_item_is_held_once(desk: Desk) -> None:
    desk.clock.catch_up()
    item = desk.item(Stage.REVIEW)
    run = await run_of(item, Suspended())
    async with get_client() as client:
        await client.update_flow_run(UUID(run), tags=["orch", "orch-stage", f"item:{item.key}"])
    desk.clock.forward(desk.settings.reconcile_grace_review + 15)
    for _ in range(2):
        await heal_due(desk.root)
        held = desk.again(item)
        assert (held.hold, held.hold_reason) == (Hold.BLOCKED, "Its run was suspended in Prefect.")
        assert [one.state_type for one in await runs(item)] == [StateType.PAUSED]
    operator.retry(desk.settings, item.key, "ada")
    await heal_due(desk.root)
    assert desk.again(item).hold is None
    assert await state_of(run) is not StateType.PAUSED


async def test_a_dead_owner_is_buried_and_the_stage_started_after_its_pause(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    run = await run_of(item, Running())
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owned(desk, item, identity(process.pid), run)
    assert await heal_due(desk.root) == []
    process.kill()
    await asyncio.to_thread(process.wait)
    assert await heal_due(desk.root) == [f"{item.key}: started review again: its run had died"]
    assert (await state_of(run), desk.store.read(leases.owners)) == (StateType.CRASHED, [])
    assert desk.store.read(counters.totals)[counters.RECLAIMED] == 1


async def test_the_run_of_a_held_item_that_overstays_is_killed_and_gives_its_slot_back(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who, run = identity(process.pid), await run_of(item, Running())
    owned(desk, item, who, run)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "the repository is gone", desk.clock.now)
    assert await heal_due(desk.root) == []
    desk.clock.forward(desk.settings.run_max_s + 1)
    assert f"{item.key}: its run died; the item is held" in await heal_due(desk.root)
    await asyncio.to_thread(process.wait)
    assert (alive(who), await state_of(run), desk.store.read(leases.owners)) == (False, StateType.CRASHED, [])
    assert desk.store.read(counters.totals)[counters.STARTED] == 0


async def test_an_owner_that_overstays_is_killed(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = identity(process.pid)
    owned(desk, item, who, await run_of(item, Running()))
    desk.clock.forward(desk.settings.run_max_s + 1)
    assert await heal_due(desk.root) != []
    await asyncio.to_thread(process.wait)
    assert not alive(who)
    assert desk.store.read(leases.owners) == []


async def test_a_run_that_goes_on_in_prefect_alone_gives_its_slot_back_after_two_looks(desk: Desk) -> None:
    item = await asked(desk)
    zombie = await run_of(item, Running())
    desk.clock.catch_up()
    for seconds in (120, 100):
        desk.clock.forward(seconds)
        await heal_due(desk.root)
        assert await state_of(zombie) is StateType.RUNNING
    desk.clock.forward(90)
    assert "1 zombies were buried" in await heal_due(desk.root)
    assert await state_of(zombie) is StateType.CRASHED


async def test_a_run_whose_worker_died_before_it_began_gives_its_slot_back_within_two_minutes(desk: Desk) -> None:
    item = await asked(desk)
    never_begun = await run_of(item, Pending())
    desk.clock.catch_up()
    for seconds in (30, 31, 20):
        desk.clock.forward(seconds)
        await heal_due(desk.root)
        assert await state_of(never_begun) is StateType.PENDING
    desk.clock.forward(10)
    assert "1 zombies were buried" in await heal_due(desk.root)
    assert await state_of(never_begun) is StateType.CRASHED


async def test_a_merge_lock_that_nobody_holds_is_freed_after_two_looks(desk: Desk) -> None:
    async with get_client() as client:
        await ensure_merge_limit(client, desk.project)
        await client.increment_concurrency_slots([desk.project.merge_limit], 1, "concurrency")
    assert await free_leaked_locks(desk.root) == []
    desk.clock.forward(60)
    assert await free_leaked_locks(desk.root) == []
    desk.clock.forward(31)
    assert await free_leaked_locks(desk.root) == ["SHOP"]
    assert await prefect_api.held_limits() == frozenset()


async def test_a_merge_lock_of_a_living_run_is_not(desk: Desk) -> None:
    async with get_client() as client:
        await ensure_merge_limit(client, desk.project)
        await client.increment_concurrency_slots([desk.project.merge_limit], 1, "concurrency")
    owned(desk, desk.item(Stage.DEPLOY_STAGING), identity(1), "run-1")
    for _ in range(3):
        desk.clock.forward(60)
        assert await free_leaked_locks(desk.root) == []
    await prefect_api.free_limit(desk.project.merge_limit)


# --- intake and stop, whose events were announced in vain


def wished(desk: Desk, key: str) -> None:
    desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=key, signal=Signal.START_REQUESTED, actor="ada",
        payload={}, now=desk.clock.now,
    )  # fmt: skip


async def test_a_start_whose_intake_is_on_its_way_gets_no_second_one(desk: Desk) -> None:
    wished(desk, "SHOP-901")
    desk.clock.forward(601)
    assert await reconcile._starts(desk.root) == ["SHOP-901: intake started"]
    for seconds in (0, 30, 3600):
        desk.clock.forward(seconds)
        assert await reconcile._starts(desk.root) == []
    [run] = [run for run in await all_runs() if run.parameters == {"work_item": "SHOP-901"}]
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Completed(), force=True)
    assert await reconcile._starts(desk.root) == ["SHOP-901: intake started"]


async def test_a_start_that_leads_to_nothing_is_tried_after_ever_longer_pauses(desk: Desk) -> None:
    wished(desk, "SHOP-902")
    began, at = desk.clock.now, []
    for _ in range(4 * 120):  # four hours of ticks
        desk.clock.forward(30)
        if await reconcile._starts(desk.root):
            at.append(round((desk.clock.now - began).total_seconds() / 60))
            async with get_client() as client:
                for run in await all_runs():
                    await client.set_flow_run_state(run.id, Completed(), force=True)
    assert at == [10, 20, 40, 70, 100, 130, 160, 190, 220]


async def test_a_stop_that_is_on_its_way_gets_no_second_run(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    assert await stop_due(desk.root) == [f"{item.key}: stop started"]
    desk.clock.forward(600)
    assert await stop_due(desk.root) == []
    assert len(await runs(item)) == 1


async def test_what_is_on_its_way_is_asked_once_about_all_starts_and_about_all_stops(desk: Desk) -> None:
    numbers = []
    for more in (1, 12):
        for _ in range(more):
            item = desk.item(Stage.REVIEW)
            desk.store.write(reactions.request_stop, item, desk.clock.now)
            wished(desk, f"SHOP-9{item.id}")
        desk.clock.forward(601)
        await reconcile._starts(desk.root)
        await stop_due(desk.root)
        desk.clock.forward(3600)
        with counted_requests({}) as requests:
            assert await reconcile._starts(desk.root) == []
            assert await stop_due(desk.root) == []
        numbers.append(requests["other"])
    assert numbers[0] == numbers[1] <= 4  # two questions, each after a look at the server's version


async def all_runs() -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs(limit=200)
