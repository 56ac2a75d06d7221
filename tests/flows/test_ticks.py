"""What a tick does about items, asked of a real Prefect server: a handful of calls, however many items there are."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Running, Suspended

from benchmarks.counting import counted_requests
from deployments.limits import ensure_merge_limit
from deployments.prefect_server import PrefectServer, wait_until_healthy
from deployments.registration import register
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from pipeline.clients.process import alive, identity
from pipeline.model import Hold, ProcessIdentity, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import counters, items, leases, waits
from tasks import prefect_api
from tasks.due_items import heal_due
from tasks.reclaiming import free_leaked_locks
from tests.support.services import Desk, open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path, prefect_server: PrefectServer) -> AsyncIterator[Desk]:
    """A desk on a Prefect server that knows the deployments and has no runs; no worker takes what is started."""
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    async with open_desk(sandbox, tmp_path, reconcile_skip_blocked_enabled=False) as opened:
        address = {PREFECT_API_URL: prefect_server.url, PREFECT_API_AUTH_STRING: prefect_server.auth}
        with temporary_settings(address):
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
    assert numbers[0] == numbers[1] <= 6  # three questions, each after a look at the server's version


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
    stranger = await run_of(desk.item(), Suspended())
    desk.clock.forward(15)
    assert "1 suspended runs were let go" in await heal_due(desk.root)
    assert await state_of(stranger) is not StateType.PAUSED


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
    for seconds in (120, 100):
        desk.clock.forward(seconds)
        await heal_due(desk.root)
        assert await state_of(zombie) is StateType.RUNNING
    desk.clock.forward(90)
    assert "1 zombies were buried" in await heal_due(desk.root)
    assert await state_of(zombie) is StateType.CRASHED


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
