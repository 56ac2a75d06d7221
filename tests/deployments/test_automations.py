import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.states import Completed, Crashed, Failed, Running, State

from deployments.automations import PREFIX, Synced, sync_automations, table
from deployments.definitions import Definition
from deployments.pools import CONTROL, ensure_pool, wait_until_polled
from deployments.prefect_server import PrefectServer, worker_command
from deployments.processes import Child, Supervisor
from deployments.registration import ensure_deployment
from pipeline.signals import DECISIONS, STAGE_ENTERED, WAIT_ANSWERED, WAKE, Signal, stage_resource
from pipeline.stages import WORKED

SOON_TENTHS = 300


@pytest.fixture
async def deployed(client: PrefectClient, stubs: Sequence[Definition]) -> Mapping[str, UUID]:
    """Ids of the deployed stub flows by name."""
    await ensure_pool(client, CONTROL, 4)
    made = [await ensure_deployment(client, definition) for definition in stubs]
    return {one.name: one.id for one in made}


@pytest.fixture
async def synced(client: PrefectClient, deployed: Mapping[str, UUID]) -> Synced:
    """The automations of the table."""
    return await sync_automations(client, deployed)


@pytest.fixture
def item() -> str:
    """A work item that no other test knows."""
    return f"WID-{uuid4().int % 10**9}"


async def emit(client: PrefectClient, event: str, resource: Mapping[str, str], *related: Mapping[str, str]) -> None:
    payload = {"work_item": resource["orch.work-item"]}
    body = {"event": event, "resource": resource, "related": related, "payload": payload}
    body |= {"id": str(uuid4()), "occurred": "2026-01-01T00:00:00Z"}
    response = await client.request("POST", "/events", json=[body])
    assert response.status_code == 204


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(SOON_TENTHS):
        if answer := await condition():
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError("it did not happen in time")


async def runs_of(client: PrefectClient, item: str) -> list[FlowRun]:
    return [run for run in await client.read_flow_runs() if run.parameters.get("work_item") == item]


async def started(client: PrefectClient, item: str, beside: int = 0) -> list[str]:
    """Names of the deployments that were run for the item, once there are more than `beside`; newest last."""

    async def more() -> list[FlowRun]:
        runs = await runs_of(client, item)
        return runs if len(runs) > beside else []

    runs = sorted(await until(more), key=lambda run: run.created)
    return [(await client.read_deployment(run.deployment_id)).name for run in runs]


async def ours(client: PrefectClient) -> dict[str, Automation]:
    return {automation.name: automation for automation in await client.read_automations()}


STARTS = {Signal.START_REQUESTED: "intake", Signal.STOP_REQUESTED: "stop"}


@pytest.mark.parametrize(
    ("signal", "flow"), [(signal, STARTS.get(signal, "wake")) for signal in Signal if signal not in DECISIONS]
)
async def test_a_signal_starts_its_flow_for_the_item(client, synced, item, signal, flow):
    await emit(client, signal.event, stage_resource(item))
    assert await started(client, item) == [flow]


@pytest.mark.parametrize("stage", WORKED)
async def test_entering_a_stage_starts_that_stage_and_no_other(client, synced, item, stage):
    await emit(client, STAGE_ENTERED, stage_resource(item, stage))
    assert await started(client, item) == [stage.value]


async def test_a_wake_event_starts_the_wake_flow(client, synced, item):
    await emit(client, WAKE, stage_resource(item))
    assert await started(client, item) == ["wake"]


async def test_a_decision_starts_nothing(client, synced, item):
    for decision in DECISIONS:
        await emit(client, decision.event, stage_resource(item))
    await emit(client, WAKE, stage_resource(item))
    assert await started(client, item) == ["wake"]


@pytest.mark.parametrize("end", [Crashed(), Failed()], ids=lambda state: state.name)
async def test_a_stage_run_that_died_wakes_its_item(client, deployed, synced, item, end: State):
    run = await client.create_flow_run_from_deployment(deployed["review"], parameters={"work_item": item})
    await client.set_flow_run_state(run.id, Running(), force=True)
    await client.set_flow_run_state(run.id, end, force=True)
    assert await started(client, item, beside=1) == ["review", "wake"]


async def test_a_run_that_ends_well_and_a_dead_control_run_wake_nothing(client, deployed, synced, item):
    for deployment, end in (("review", Completed()), ("intake", Crashed())):
        run = await client.create_flow_run_from_deployment(deployed[deployment], parameters={"work_item": item})
        await client.set_flow_run_state(run.id, end, force=True)
    await emit(client, Signal.STOP_REQUESTED.event, stage_resource(item))
    assert await started(client, item, beside=2) == ["review", "intake", "stop"]


async def test_an_answer_resumes_the_suspended_run(
    empty: PrefectClient,  # or the worker would first run what other tests have left
    client: PrefectClient,
    prefect_server: PrefectServer,
    deployed: Mapping[str, UUID],
    synced: Synced,
    stub_folder: Path,
    item: str,
    tmp_path: Path,
):
    environment = dict(os.environ) | prefect_server.client_environment() | {"PYTHONPATH": str(stub_folder)}
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(
            Child(
                "worker",
                worker_command(CONTROL, "tester"),
                environment,
                ready=lambda: wait_until_polled(client, CONTROL, "tester"),
            )
        )
        run = await client.create_flow_run_from_deployment(deployed["ask"], parameters={"work_item": item})

        async def is_completed() -> bool:
            state = (await client.read_flow_run(run.id)).state
            return state is not None and state.type is StateType.COMPLETED

        async def form_is_there() -> bool:  # the server commits it a moment after the state
            state = (await client.read_flow_run(run.id)).state
            keys = state.state_details.run_input_keyset if state else None
            return bool(keys and await client.filter_flow_run_input(run.id, keys["schema"], 1, set()))

        await until(form_is_there)
        await emit(
            client,
            WAIT_ANSWERED,
            stage_resource(item),
            {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.role": "flow-run"},
        )
        await until(is_completed)


async def test_syncing_twice_changes_no_id_and_no_timestamp(empty, client, deployed, synced):
    before = await ours(client)
    assert (await sync_automations(client, deployed)).changes == ()
    assert await ours(client) == before
    assert len(before) == len(list(table(deployed, None)))


async def test_an_automation_changed_by_hand_is_put_right_in_place(client, deployed, synced):
    before = (await ours(client))[f"{PREFIX} wake"]
    changed = before.model_copy(update={"actions": [DoNothing()]})
    body = changed.model_dump(include={"name", "enabled", "trigger", "actions"})
    await client.update_automation(before.id, AutomationCore.model_validate(body))
    again = await sync_automations(client, deployed)
    after = (await ours(client))[f"{PREFIX} wake"]
    assert again.changes == (f"updated automation {PREFIX} wake",)
    assert (after.id, after.actions, after.trigger) == (before.id, before.actions, before.trigger)


async def test_an_automation_switched_off_by_a_person_stays_off(client, deployed, synced):
    wake = (await ours(client))[f"{PREFIX} wake"]
    await client.pause_automation(wake.id)
    assert await sync_automations(client, deployed) == Synced(changes=(), disabled=(wake.name,))
    other = dict(deployed) | {"wake": deployed["stop"]}
    assert wake.name in (await sync_automations(client, other)).disabled
    assert not (await ours(client))[wake.name].enabled
    await client.resume_automation(wake.id)


async def test_a_stray_of_ours_goes_and_a_persons_own_automation_stays(client, deployed, synced):
    for name in (f"{PREFIX} long forgotten", "my own"):
        never = EventTrigger(expect={"never.happens"})
        await client.create_automation(AutomationCore(name=name, trigger=never, actions=[DoNothing()]))
    again = await sync_automations(client, deployed)
    assert again.changes == (f"deleted automation {PREFIX} long forgotten",)
    own = (await ours(client))["my own"]
    await client.delete_automation(own.id)


async def test_only_a_telegram_block_makes_dead_runs_told(client, deployed, synced):
    name = f"{PREFIX} a dead stage run is told"
    assert name not in await ours(client)
    block = uuid4()
    await sync_automations(client, deployed, telegram_block=block)
    [action] = (await ours(client))[name].actions
    assert action.block_document_id == block
    assert (await sync_automations(client, deployed, telegram_block=block)).changes == ()
