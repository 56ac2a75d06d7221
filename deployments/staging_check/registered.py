"""Checks 3 to 6: the Prefect server, and what `orch up` has registered there."""

import asyncio
from collections.abc import Iterator
from typing import cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from blocks import TelegramNotification
from deployments.automations import sync_automations
from deployments.definitions import read_definitions
from deployments.limits import MERGES_AT_ONCE
from deployments.peers import block, prefect_address, prefect_client
from deployments.pools import AGENTS, CONTROL
from deployments.prefect_server import wait_until_healthy
from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.staging import Staging
from pipeline.projects import Project

AGAIN = "start `orch up` again, which puts it right"
NOWHERE = UUID(int=0)
"""Stands for a deployment that does not exist, so that the automations that run it are told to differ."""

PATIENCE_S = 5


async def prefect(staging: Staging) -> Finding:
    """The server answers with our credentials and is of the right version."""
    where = prefect_address(staging.settings)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await wait_until_healthy(where.url, where.auth)
    except TimeoutError:
        return wrong(
            f"The Prefect server at {where.url} does not answer: start `orch up`, or correct PREFECT_API_URL or"
            " ORCH_PREFECT_PORT here."
        )
    return fine(f"The Prefect server at {where.url} takes our credentials and is of the right version.")


class _Looking:
    """A Prefect client for `sync_automations` that writes nothing and notes what would be written."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._names: dict[UUID, str] = {}
        self.problems: list[str] = []

    async def read_automations(self, *, limit: int, offset: int) -> list[Automation]:
        """A page of the server's automations."""
        found = await self._client.read_automations(limit=limit, offset=offset)
        self._names |= {automation.id: automation.name for automation in found}
        return found

    async def create_automation(self, automation: AutomationCore) -> None:
        """Note that it is missing."""
        self.problems.append(f"“{automation.name}” is missing")

    async def update_automation(self, _id: UUID, automation: AutomationCore) -> None:
        """Note that it differs."""
        self.problems.append(f"“{automation.name}” is not as it should be")

    async def delete_automation(self, automation_id: UUID) -> None:
        """Note that it is left over."""
        self.problems.append(f"“{self._names[automation_id]}” is not known to this version")


async def automations(staging: Staging) -> Finding:
    """Every automation of ours is there, as this version makes it, and not switched off."""
    async with prefect_client(staging.settings) as client:
        looking = _Looking(client)
        found = await sync_automations(
            cast("PrefectClient", looking), await _ids(client), telegram_block=await _telegram(staging)
        )
    if looking.problems:
        return wrong(f"Of Orch's automations {', '.join(looking.problems)}: {AGAIN}.")
    if found.disabled:
        return wrong(f"Somebody has switched off {', '.join(found.disabled)}: switch it on in Prefect, Automations.")
    return fine("All automations are there, as they should be, and switched on.")


async def deployments(staging: Staging) -> Finding:
    """Every deployment is there, and none is paused."""
    missing, paused = [], []
    async with prefect_client(staging.settings) as client:
        for definition in read_definitions():
            try:
                found = await client.read_deployment_by_name(definition.full_name)
            except ObjectNotFound:
                missing.append(definition.full_name)
            else:
                paused += [definition.full_name] if found.paused else []
    if missing:
        return wrong(f"Prefect has no deployment {', '.join(missing)}: {AGAIN}.")
    if paused:
        return wrong(f"Somebody has paused {', '.join(paused)}: resume it in Prefect, Deployments.")
    return fine("All deployments are there, and none is paused.")


async def limits(staging: Staging) -> Finding:
    """Every project has its merge limit; both work pools have theirs, are not paused, and have a worker."""
    settings = staging.settings
    async with prefect_client(staging.settings) as client:
        problems = [
            *[problem for project in staging.registry.values() for problem in await _of_limit(client, project)],
            *await _of_pool(client, AGENTS, settings.max_concurrency),
            *await _of_pool(client, CONTROL, settings.control_concurrency),
        ]
    if problems:
        return wrong(f"{'; '.join(problems)}.")
    return fine("Every project has its merge limit, and both work pools have their limits and a worker.")


async def _ids(client: PrefectClient) -> dict[str, UUID]:
    """Ids of our deployments by name."""
    ids = {}
    for definition in read_definitions():
        try:
            ids[definition.name] = (await client.read_deployment_by_name(definition.full_name)).id
        except ObjectNotFound:
            ids[definition.name] = NOWHERE
    return ids


async def _telegram(staging: Staging) -> UUID | None:
    if not staging.settings.telegram_bot_token.get_secret_value():
        return None
    return (await block(TelegramNotification))._block_document_id


async def _of_limit(client: PrefectClient, project: Project) -> list[str]:
    """What is wrong with a project's merge limit."""
    name = project.merge_limit
    try:
        found = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        return [f"Prefect has no concurrency limit {name}: {AGAIN}"]
    if found.limit != MERGES_AT_ONCE:
        return [f"the concurrency limit {name} is {found.limit}, not {MERGES_AT_ONCE}: {AGAIN}"]
    return (
        [] if found.active else [f"the concurrency limit {name} is switched off: activate it in Prefect, Concurrency"]
    )


async def _of_pool(client: PrefectClient, name: str, limit: int) -> list[str]:
    """What is wrong with a work pool."""
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return [f"Prefect has no work pool {name}: {AGAIN}"]
    workers = await client.read_workers_for_work_pool(name)
    return list(_problems(name, limit, pool.concurrency_limit, pool.is_paused, [one.status for one in workers]))


def _problems(
    name: str, limit: int, found: int | None, paused: bool, workers: list[WorkerStatus | None]
) -> Iterator[str]:
    if found != limit:
        yield f"the work pool {name} takes {found or 'any number of'} runs at once, not {limit}: {AGAIN}"
    if paused:
        yield f"the work pool {name} is paused: resume it in Prefect, Work Pools"
    if WorkerStatus.ONLINE not in workers:
        yield f"no living worker asks the work pool {name} for runs: see that `orch up` runs, and its logs"
