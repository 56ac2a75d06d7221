"""`orch doctor`: everything about the set-up, looked at once. Changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TypeVar

from prefect.blocks.core import Block

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from deployments.checkup import machine
from deployments.checkup.agent import look_at_agent
from deployments.checkup.finding import Finding, fine, less, missing
from deployments.checkup.gitea import look_at_gitea
from deployments.checkup.plane import look_at_plane
from deployments.checkup.telegram import look_at_telegram
from deployments.connections import agent_of, gitea_of, plane_of, telegram_of
from deployments.durations import too_long
from deployments.peers import block, prefect_client
from pipeline.clients.bubblewrap import sandbox_state, unavailable
from pipeline.errors import OrchError, Refused
from pipeline.projects import Registry
from pipeline.settings import Settings

B = TypeVar("B", bound=Block)


async def doctor(settings: Settings) -> list[Finding]:
    """All findings, this machine's first. Outside systems are asked through the blocks when Prefect is up."""
    found = machine.look_at_settings(settings)
    for look in (machine.look_at_versions, machine.look_at_git):
        found.append(await asyncio.to_thread(look))
    found.append(await asyncio.to_thread(machine.look_at_disk, settings.state_dir))
    found.append(await asyncio.to_thread(machine.look_at_database, settings))
    found.append(await machine.look_at_prefect(settings))
    found.append(await asyncio.to_thread(_sandbox, settings))
    return [*found, *[finding async for finding in _outside(settings, found)]]


def _sandbox(settings: Settings) -> Finding:
    sentence = sandbox_state(settings.sandbox)
    if settings.sandbox != "off" and not unavailable():
        return fine("Sandbox", sentence)
    make = missing if settings.sandbox == "required" else less
    return make("Sandbox", sentence, "Install bubblewrap, and run Orch as a user that owns nothing else.")


async def _outside(settings: Settings, found: list[Finding]) -> AsyncIterator[Finding]:
    try:
        projects = tuple(settings.registry().values())
    except OrchError:  # told among the settings
        projects = ()
    async with AsyncExitStack() as stack:
        up = any(finding.about == "Prefect" and not finding.next_step for finding in found)
        if up:
            await stack.enter_async_context(prefect_client(settings))
        if up or (settings.plane_url and settings.plane_token.get_secret_value()):
            plane = await _in_use(PlaneWorkspace, plane_of(settings), up=up)
            async with plane.get_client() as tracker:
                for finding in await look_at_plane(tracker, projects, settings):
                    yield finding
            if settings.plane_webhook_secret.get_secret_value():  # else it is among the settings
                yield await asyncio.to_thread(machine.look_at_deliveries, settings)
        if up or (settings.gitea_url and settings.gitea_token.get_secret_value()):
            gitea = await _in_use(GiteaServer, gitea_of(settings), up=up)
            async with gitea.get_client() as forge:
                for finding in await look_at_gitea(forge, projects, settings):
                    yield finding
        if settings.telegram_bot_token.get_secret_value():
            telegram = await _in_use(TelegramNotification, telegram_of(settings), up=up)
            async with telegram.get_client() as messenger:
                for finding in await look_at_telegram(messenger, settings):
                    yield finding
        agent = await _in_use(CodingAgent, agent_of(settings), up=up)
        for finding in await look_at_agent(agent):
            yield finding
        for sentence in too_long(settings, Registry(projects), agent):
            yield missing("Time", sentence, "Raise ORCH_RUN_MAX_S, or let it take less time.")


async def _in_use(kind: type[B], otherwise: B, *, up: bool) -> B:
    """The block that Orch uses, or the one that the settings will make."""
    try:
        return await block(kind) if up else otherwise
    except Refused:  # none yet: the next `orch up` makes it
        return otherwise
