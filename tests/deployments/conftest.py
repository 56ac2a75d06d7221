"""Clients of the session's Prefect server, and stub flows to register there."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient, get_client

from deployments.definitions import Definition, WorkPoolName
from deployments.pools import CONTROL
from deployments.prefect_server import PrefectServer, wait_until_healthy
from pipeline.stages import WORKED
from tests.support.desks import desk, sandbox
from tests.support.prefect_address import talking_to

__all__ = ["client", "desk", "empty", "sandbox", "stub_folder", "stubs"]

STUBS = (*(stage.value for stage in WORKED), "intake", "wake", "stop", "ask")

STUB = """
from prefect import flow

@flow(name="{name}")
async def {name}(work_item: str) -> str:
    return work_item
"""

ASKING_STUB = """
from prefect import flow, suspend_flow_run
from prefect.input import RunInput

class Form(RunInput):
    answer: str = ""

@flow(name="{name}")
async def {name}(work_item: str) -> str:
    await suspend_flow_run(wait_for_input=Form, key="wait-1", timeout=600)
    return work_item
"""


@pytest.fixture
async def client(prefect_server: PrefectServer) -> AsyncIterator[PrefectClient]:
    """A client of the session's server, which holds what earlier tests have left there."""
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    with talking_to(prefect_server.url, prefect_server.auth):
        async with get_client() as connected:
            yield connected


@pytest.fixture
async def empty(client: PrefectClient) -> AsyncIterator[PrefectClient]:
    """The same with nothing of Orch registered, before the test and after it: other files use the server, too."""
    await _wipe(client)
    yield client
    await _wipe(client)


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of importable stub flows under the names of Orch's own, and of one that asks a person."""
    folder = tmp_path_factory.mktemp("code")
    for name in STUBS:
        text = ASKING_STUB if name == "ask" else STUB
        (folder / f"stub_{name}.py").write_text(text.format(name=name))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def stubs(stub_folder: Path) -> tuple[Definition, ...]:
    """The deployments of the stub flows, tagged as the real ones are."""
    return tuple(
        Definition(
            name=name,
            entrypoint=f"stub_{name}.{name}",
            description=f"Stands in for {name}.",
            tags=("orch-stage" if name in WORKED else "orch-control",),
            work_pool=WorkPoolName(name=CONTROL),
        )
        for name in STUBS
    )


async def _wipe(client: PrefectClient) -> None:
    for automation in await client.read_automations():
        await client.delete_automation(automation.id)
    for deployment in await client.read_deployments():
        await client.delete_deployment(deployment.id)
    for pool in await client.read_work_pools():
        await client.delete_work_pool(pool.name)
    for limit in await client.read_global_concurrency_limits():
        await client.delete_global_concurrency_limit_by_name(limit.name)
