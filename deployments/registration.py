"""Everything that Orch keeps in Prefect's server, made and kept as it should be: what `orch up` does before any run."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectNotFound

from deployments.automations import sync_automations
from deployments.definitions import Code, Definition, Every, read_code, read_definitions
from deployments.limits import ensure_merge_limit, ensure_plane_budget
from deployments.pools import AGENTS, CONTROL, CONTROL_LIMIT, ensure_merge_queue, ensure_pool
from pipeline.projects import Registry


@dataclass(frozen=True, slots=True)
class Registered:
    """What `register` found and did.

    `deployments` are ids by deployment name, `changes` a sentence for each write (none when all was as wanted), and
    `remarks` what the operator has switched off, for people to read: it was left so.
    """

    deployments: Mapping[str, UUID]
    changes: tuple[str, ...]
    remarks: tuple[str, ...]


async def register(
    client: PrefectClient,
    *,
    registry: Registry,
    agents_limit: int,
    control_limit: int = CONTROL_LIMIT,
    telegram_block: UUID | None = None,
    plane_requests_per_minute: int = 0,
    plane_voices: Collection[str] = (),
    definitions: Sequence[Definition] | None = None,
) -> Registered:
    """Have pools, merge locks, budgets, deployments and automations as prefect.yaml and the tables say. Idempotent.

    Compares first and writes only what differs: a second call changes no id and no timestamp. Deletes no deployment.
    Whether a deployment, schedule, pool, limit or automation is paused is the operator's once it exists. Raises
    `SettingsError` when prefect.yaml, a flow or an existing pool is not usable.
    """
    pools = [
        (name, await ensure_pool(client, name, limit))
        for name, limit in ((AGENTS, agents_limit), (CONTROL, control_limit))
    ]
    merges = await ensure_merge_queue(client, control_limit)
    locks = [(project.merge_limit, await ensure_merge_limit(client, project)) for project in registry.values()]
    budgets = [
        await ensure_plane_budget(client, voice, plane_requests_per_minute) for voice in ("", *sorted(plane_voices))
    ]
    made = [await ensure_deployment(client, definition) for definition in definitions or read_definitions()]
    ids = {deployment.name: deployment.id for deployment in made}
    automations = await sync_automations(client, ids, telegram_block=telegram_block)
    changes = (
        *(pool.change for _, pool in pools),
        merges,
        *(lock.change for _, lock in locks),
        *(budget.change for budget in budgets),
        *(one.change for one in made),
    )
    return Registered(
        deployments=ids,
        changes=(*filter(None, changes), *automations.changes),
        remarks=(
            *(f"work pool {name} is paused: its runs wait" for name, pool in pools if pool.paused),
            *(f"concurrency limit {name} is inactive: merges take no turns" for name, lock in locks if not lock.active),
            *(f"deployment {one.name} is paused" for one in made if one.paused),
            *(f"automation {name} is switched off" for name in automations.disabled),
        ),
    )


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """What `ensure_deployment` found or did: `change` is a sentence, None when the deployment was as wanted."""

    name: str
    id: UUID
    paused: bool
    change: str | None


async def ensure_deployment(client: PrefectClient, definition: Definition) -> DeploymentState:
    """Have the deployment of `definition`, with what its flow's source says. Idempotent; see `register`."""
    code = await asyncio.to_thread(read_code, definition)
    try:
        found = await client.read_deployment_by_name(definition.full_name)
    except ObjectNotFound:
        made = await _create(client, definition, code)
        return DeploymentState(definition.name, made, paused=False, change=f"created deployment {definition.full_name}")
    wanted = _wanted(definition, code)
    different = {field: wanted[field] for field, value in _found(found).items() if value != wanted[field]}
    if different:
        if "work_queue_name" in different:  # alone it would name a queue of Prefect's default pool
            different["work_pool_name"] = wanted["work_pool_name"]
        await client.update_deployment(found.id, DeploymentUpdate(**different))
    rescheduled = [await _ensure_schedule(client, found, every) for every in definition.schedules]
    names = [*sorted(different), *filter(None, rescheduled)]
    change = f"updated deployment {definition.full_name}: {', '.join(names)}" if names else None
    return DeploymentState(definition.name, found.id, found.paused, change)


def _wanted(definition: Definition, code: Code) -> dict[str, Any]:
    limit = definition.concurrency_limit
    options = ConcurrencyOptions(collision_strategy=limit.collision_strategy) if limit else None
    return {
        "version": code.version,
        "description": definition.description,
        "tags": list(definition.tags),
        "entrypoint": definition.entrypoint,
        "path": None,
        "pull_steps": [],
        "work_pool_name": definition.work_pool.name,
        "work_queue_name": definition.work_pool.work_queue_name,
        "parameters": {},
        "job_variables": {},
        "parameter_openapi_schema": dict(code.parameters),
        "enforce_parameter_schema": True,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options,
    }


def _found(deployment: DeploymentResponse) -> dict[str, Any]:
    """The same fields as the server has them; the limit is an object of its own there."""
    limit = deployment.global_concurrency_limit
    return deployment.model_dump(
        include={
            *("version", "description", "tags", "entrypoint", "path", "pull_steps", "parameters"),
            *(
                "work_pool_name",
                "work_queue_name",
                "job_variables",
                "parameter_openapi_schema",
                "enforce_parameter_schema",
            ),
        }
    ) | {
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": deployment.concurrency_options,
    }


async def _create(client: PrefectClient, definition: Definition, code: Code) -> UUID:
    flow_id = await client.create_flow_from_name(definition.name)
    return await client.create_deployment(
        flow_id,
        definition.name,
        schedules=[_new_schedule(every) for every in definition.schedules],
        **_wanted(definition, code),
    )


async def _ensure_schedule(client: PrefectClient, deployment: DeploymentResponse, every: Every) -> str | None:
    found = next((schedule for schedule in deployment.schedules if schedule.slug == every.slug), None)
    if found is None:
        await client.create_deployment_schedules(deployment.id, [_new_schedule(every)])
    elif _interval_of(found) != every.interval:
        await client.update_deployment_schedule(deployment.id, found.id, schedule=_interval(every))
    else:
        return None
    return f"schedule {every.slug}"


def _new_schedule(every: Every) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=_interval(every), slug=every.slug)


def _interval_of(schedule: DeploymentSchedule) -> float | None:
    return schedule.schedule.interval.total_seconds() if isinstance(schedule.schedule, IntervalSchedule) else None


def _interval(every: Every) -> IntervalSchedule:
    return IntervalSchedule(interval=timedelta(seconds=every.interval))
