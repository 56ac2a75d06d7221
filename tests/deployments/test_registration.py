import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, GlobalConcurrencyLimitUpdate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule

from deployments.pools import AGENTS, CONTROL
from deployments.prefect_server import PrefectServer
from deployments.registration import Registered, register
from pipeline.projects import Project, Registry

ROOT = Path(__file__).parents[2]
REGISTRY = Registry(
    tuple(
        Project(key=key, plane_project=UUID(int=number), repository=f"acme/{key}", test_command=("true",))
        for number, key in enumerate(("WID", "ORCH"), 1)
    )
)


async def register_all(client: PrefectClient, agents_limit: int = 2) -> Registered:
    return await register(client, registry=REGISTRY, agents_limit=agents_limit)


async def everything(client: PrefectClient) -> dict[str, Any]:
    return {
        "pools": await client.read_work_pools(),
        "limits": await client.read_global_concurrency_limits(),
        "deployments": await deployments(client),
        "automations": await client.read_automations(),
    }


async def deployments(client: PrefectClient) -> dict[str, DeploymentResponse]:
    return {one.name: one for one in await client.read_deployments()}


def comparable(deployment: DeploymentResponse) -> dict[str, Any]:
    """All but ids and times; of the source's version Prefect's CLI may make another one, from git."""
    left_out = {"id", "created", "updated", "version", "version_id", "version_info", "schedules", "last_polled"}
    limit = deployment.global_concurrency_limit
    return deployment.model_dump(exclude={*left_out, "global_concurrency_limit", "work_queue_id", "flow_id"}) | {
        "limit": limit.limit if limit else None,
        "schedules": [
            (one.slug, one.active, one.parameters, one.schedule.interval, one.schedule.timezone)
            for one in deployment.schedules
        ],
    }


async def prefect_deploy_all(server: PrefectServer, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", ROOT / "prefect.yaml"),
        cwd=folder,
        env=dict(os.environ) | server.client_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_a_first_registration_makes_everything(empty: PrefectClient):
    registered = await register_all(empty)
    pools = {pool.name: pool.concurrency_limit for pool in await empty.read_work_pools()}
    assert pools == {AGENTS: 2, CONTROL: 4}
    assert {limit.name for limit in await empty.read_global_concurrency_limits()} >= {"merge-WID", "merge-ORCH"}
    assert registered.deployments == {name: one.id for name, one in (await deployments(empty)).items()}
    assert registered.remarks == ()


async def test_a_second_registration_changes_no_id_and_no_timestamp(empty: PrefectClient):
    first = await register_all(empty)
    before = await everything(empty)
    second = await register_all(empty)
    assert second == Registered(deployments=first.deployments, changes=(), remarks=())
    assert await everything(empty) == before


async def test_prefect_deploy_makes_the_same_deployments_from_any_folder(
    empty: PrefectClient, prefect_server: PrefectServer, tmp_path: Path
):
    await register_all(empty)
    ours = await deployments(empty)
    for deployment in ours.values():
        await empty.delete_deployment(deployment.id)
    await prefect_deploy_all(prefect_server, tmp_path)
    theirs = await deployments(empty)
    assert {name: comparable(one) for name, one in theirs.items()} == {
        name: comparable(one) for name, one in ours.items()
    }
    again = await register_all(empty)
    assert [change for change in again.changes if "deployment" in change] == []


async def test_what_was_changed_by_hand_is_put_right_in_place(empty: PrefectClient):
    first = await register_all(empty)
    review, reconcile = first.deployments["review"], first.deployments["reconcile"]
    await empty.update_deployment(review, DeploymentUpdate(tags=["mine"], work_pool_name=CONTROL))
    await empty.update_deployment(reconcile, DeploymentUpdate(concurrency_limit=3))
    [tick] = await empty.read_deployment_schedules(reconcile)
    hourly = IntervalSchedule(interval=timedelta(hours=1))
    await empty.update_deployment_schedule(reconcile, tick.id, active=False, schedule=hourly)
    again = await register_all(empty)
    after = await deployments(empty)
    [tick] = after["reconcile"].schedules
    assert set(again.changes) == {
        "updated deployment review/review: tags, work_pool_name",
        "updated deployment reconcile/reconcile: concurrency_limit, schedule tick",
    }
    assert (after["review"].id, after["review"].tags, after["review"].work_pool_name) == (
        review,
        ["orch-stage"],
        AGENTS,
    )
    assert (tick.schedule.interval, tick.active) == (timedelta(seconds=30), False)
    assert (await register_all(empty)).changes == ()


async def test_what_a_person_paused_stays_paused_and_is_said(empty: PrefectClient):
    first = await register_all(empty)
    await empty.pause_deployment(first.deployments["deploy"])
    await empty.update_work_pool(AGENTS, WorkPoolUpdate(is_paused=True))
    await empty.update_global_concurrency_limit("merge-WID", GlobalConcurrencyLimitUpdate(active=False))
    wake = next(one for one in await empty.read_automations() if one.name == "orch: wake")
    await empty.pause_automation(wake.id)
    before = await everything(empty)
    again = await register_all(empty)
    assert await everything(empty) == before
    assert again.changes == ()
    assert again.remarks == (
        "work pool orch-agents is paused: its runs wait",
        "concurrency limit merge-WID is inactive: merges take no turns",
        "deployment deploy is paused",
        "automation orch: wake is switched off",
    )


async def test_a_deployment_that_is_not_ours_is_left_alone(empty: PrefectClient):
    await register_all(empty)
    flow = await empty.create_flow_from_name("somebody-elses")
    foreign = await empty.create_deployment(flow, "theirs")
    await register_all(empty)
    assert (await empty.read_deployment(foreign)).name == "theirs"


async def test_an_automation_follows_a_deployment_that_was_made_anew(empty: PrefectClient):
    first = await register_all(empty)
    await empty.delete_deployment(first.deployments["stop"])
    again = await register_all(empty)
    targets: Mapping[str, UUID] = {
        one.name: one.actions[0].deployment_id
        for one in await empty.read_automations()
        if one.name == "orch: stop_requested starts stop"
    }
    assert list(targets.values()) == [again.deployments["stop"]]
    assert again.deployments["stop"] != first.deployments["stop"]
