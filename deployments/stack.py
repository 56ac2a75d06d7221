"""Everything that runs: Prefect server, workers and receiver, started in order for one set of settings."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from blocks import CodingAgent
from deployments.connections import ensure_blocks
from deployments.durations import too_long
from deployments.pools import AGENTS, CONTROL, end_never_begun, wait_until_polled
from deployments.prefect_server import (
    PrefectServer,
    auth_string,
    client_environment,
    require_free_port,
    their_url,
    wait_until_healthy,
    worker_command,
)
from deployments.processes import Child, Supervisor
from deployments.registration import Registered, register
from pipeline.clients.process_identity import alive_here, went_with_its_host
from pipeline.errors import CouldNotRun, Refused, SettingsError
from pipeline.messages import Texts
from pipeline.settings import Settings
from pipeline.store import leases
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks import prefect_api
from tasks.reclaiming import CONTROL_MAX, end_lost_runs, reclaim_dead
from tasks.services import BLOCK

THEIRS_WITHIN_S = 10
"""How long a Prefect server of the user's may take to answer usefully."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The Prefect server that is used: ours, or one that the user runs, which other hosts' workers may ask, too."""

    url: str
    ui_url: str
    environment: Mapping[str, str]
    ours: bool


@dataclass(frozen=True, slots=True)
class Running:
    """Where everything is, once it is up."""

    prefect: Peer
    receiver_url: str
    registered: Registered


async def start(supervisor: Supervisor, settings: Settings, *, prefect_port: int, terse: bool = False) -> Running:
    """Start what is missing and register what Prefect must know. Idempotent over restarts.

    Raises `SettingsError` for what the user has to mend and `CouldNotRun` for a process that does not come up.
    """
    require_tools(settings)
    require_free_port(settings.port, "ORCH_PORT")
    store = Store(settings.store_url)
    migrate(store)
    # whoever died with the last `orch up` goes on at once
    store.write(reclaim_dead, datetime.now(UTC), alive_here, went_with_its_host, Texts(settings.language))
    owners = store.read(leases.owners)
    store.dispose()
    peer = await _prefect(supervisor, settings, prefect_port)
    environment = {**base_environment(), **peer.environment, **as_environment(settings)}
    with _talking_to(peer):
        registered = await _register(settings)
        await end_lost(owners, ours=peer.ours)
        workers = [
            _worker(pool, name, environment, wait=not terse, alone=peer.ours)
            for pool, name in ((AGENTS, "agents"), (CONTROL, "control"))
        ]
        # side by side: each of them spends seconds on importing, and none needs another
        await asyncio.gather(*(supervisor.start(child) for child in (_receiver(settings, environment), *workers)))
    return Running(peer, f"http://{settings.host}:{settings.port}", registered)


def free_what_was_stopped(settings: Settings) -> list[str]:
    """Free the items whose runs have ended with an Orch that was told to: that is no failure of theirs. Their keys.

    For the end of `orch up`, when all of its processes are gone; the next one starts the stages.
    """
    store = Store(settings.store_url)
    try:
        return store.write(reclaim_dead, datetime.now(UTC), alive_here, lambda _: True, Texts(settings.language))
    finally:
        store.dispose()


async def end_lost(owners: Sequence[leases.Owner], *, ours: bool) -> int:
    """Give back the slots of runs that died with the last `orch up`: full pools would start nothing, not even the tick.

    On a server of ours nobody works before our workers do. To another server other hosts' workers may belong.
    """
    tags = (prefect_api.CONTROL_TAG, prefect_api.STAGE_TAG) if ours else (prefect_api.CONTROL_TAG,)
    return await end_lost_runs(tags, owners, datetime.now(UTC), after=timedelta(0) if ours else CONTROL_MAX)


def require_tools(settings: Settings) -> None:
    """Raise `SettingsError` when a program that Orch needs is not there."""
    for program, where in (("git", "install git"), (settings.agent[1][0], "install it, or correct ORCH_AGENT_COMMAND")):
        if shutil.which(program) is None:
            raise SettingsError(f"The program {program} is not on PATH: {where}.")


def require_time(settings: Settings, agent: CodingAgent) -> None:
    """Raise `SettingsError` when a step may take longer than a run lasts, naming each."""
    if found := too_long(settings, settings.registry(), agent):
        raise SettingsError("\n".join((*found, "Raise ORCH_RUN_MAX_S, or let these take less time.")))


def base_environment() -> dict[str, str]:
    """What our own processes take over from ours: everything but settings of Orch and Prefect, which are made anew."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "PREFECT_"))}


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as ORCH_* variables, for processes that run in other folders and find no `.env` there."""
    values = {name: _text(getattr(settings, name)) for name in type(settings).model_fields}
    return {f"ORCH_{name.upper()}": value for name, value in values.items() if value is not None}


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.resolve())
    if isinstance(value, Mapping):
        return json.dumps({name: _text(one) for name, one in value.items()})
    if isinstance(value, tuple):
        return " ".join(map(str, value)) if all(isinstance(v, float) for v in value) else json.dumps(value)
    return str(value)


async def _prefect(supervisor: Supervisor, settings: Settings, port: int) -> Peer:
    """The user's Prefect server when PREFECT_API_URL names one, else our own."""
    theirs = their_url()
    home = (settings.state_dir / "prefect").resolve()
    if theirs:
        auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
        await _reach(theirs, auth)
        return Peer(theirs, theirs.removesuffix("/api"), client_environment(theirs, auth, home), ours=False)
    require_free_port(port, "ORCH_PREFECT_PORT")
    server = PrefectServer(home, port, auth_string(settings.state_dir / "prefect-auth"))
    await supervisor.start(
        Child("prefect", server.command, server.environment(), ready=server.wait_until_healthy, ready_within_s=120)
    )
    return Peer(server.url, server.ui_url, server.client_environment(), ours=True)


async def _reach(url: str, auth: str) -> None:
    """Return when a server of the user's can be worked with. Raises `CouldNotRun` and `SettingsError`."""
    named = f"The Prefect server at {url} (PREFECT_API_URL)"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=THEIRS_WITHIN_S) as client:
            await client.get(f"{url}/health")
        async with asyncio.timeout(THEIRS_WITHIN_S):
            await wait_until_healthy(url, auth)
    except httpx.HTTPError as error:
        raise SettingsError(
            f"{named} does not answer: {error!r}. Start it, or unset PREFECT_API_URL and Orch starts one of its own."
        ) from error
    except TimeoutError as error:
        raise SettingsError(f"{named} answers nothing but errors: see its log, or correct the address.") from error
    except Refused as error:
        raise SettingsError(
            f"{named} answers {error.status}: set PREFECT_API_AUTH_STRING to the text that it was started with as"
            " PREFECT_SERVER_API_AUTH_STRING."
        ) from error


@contextmanager
def _talking_to(peer: Peer) -> Iterator[None]:
    """Have Prefect's clients talk to this server. Raises `CouldNotRun` when it fails them."""
    auth = peer.environment.get("PREFECT_API_AUTH_STRING") or None
    with temporary_settings({PREFECT_API_URL: peer.url, PREFECT_API_AUTH_STRING: auth}):
        try:
            yield
        except httpx.TransportError as error:
            raise CouldNotRun(
                f"The Prefect server at {peer.url} has stopped answering: {error!r}. See its log."
            ) from error
        except PrefectHTTPStatusError as error:
            call = f"{error.request.method} {error.request.url.path}"
            raise CouldNotRun(
                f"The Prefect server at {peer.url} answered {error.response.status_code} to {call}: see its log, and"
                " whether something else, such as a proxy, answers in its place."
            ) from error


async def _register(settings: Settings) -> Registered:
    telegram: UUID | None = await ensure_blocks(settings)
    require_time(settings, await CodingAgent.aload(BLOCK))
    async with get_client() as client:
        return await register(
            client,
            registry=settings.registry(),
            agents_limit=settings.max_concurrency,
            control_limit=settings.control_concurrency,
            telegram_block=telegram,
            plane_requests_per_minute=settings.plane_requests_per_minute,
            plane_voices=settings.plane_bot_tokens,
        )


def _receiver(settings: Settings, environment: Mapping[str, str]) -> Child:
    async def ready() -> None:
        await _answers(f"http://{settings.host}:{settings.port}/healthz")

    return Child("receiver", (sys.executable, "-m", "deployments.receiver"), environment, ready=ready)


async def _answers(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


def _worker(pool: str, name: str, environment: Mapping[str, str], *, wait: bool, alone: bool) -> Child:
    """A worker; `alone` when no other host's may take the pool's runs, so that those it leaves Pending are nobody's."""

    async def ready() -> None:
        async with get_client() as client:
            await wait_until_polled(client, pool, f"orch-{name}")

    return Child(
        name,
        worker_command(pool, f"orch-{name}"),
        environment,
        ready=ready if wait else None,
        before_restart=partial(end_never_begun, pool) if alone else None,
    )
