"""A step that takes long shows on its run's page how much of its time has passed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from deployments.prefect_server import PrefectServer
from tasks import progress
from tests.support.prefect_address import talking_to


@pytest.fixture(autouse=True)
async def address(prefect_server: PrefectServer) -> AsyncIterator[None]:
    await prefect_server.wait_until_healthy()
    with talking_to(prefect_server.url, prefect_server.auth):
        yield


@task
async def step(seconds: float) -> None:
    async with progress.shown("The tests of WID-1", limit_s=10):
        await asyncio.sleep(seconds)


@flow
async def working(seconds: float) -> list[Artifact]:
    await step(seconds)
    async with get_client() as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[runtime.flow_run.id]))
        return list(await client.read_artifacts(artifact_filter=mine))


async def test_what_takes_long_is_shown_and_ends_at_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LONG_S", 0.1)
    monkeypatch.setattr(progress, "AGAIN_S", 0.1)
    [shown] = await working(1.0)
    assert (shown.type, shown.data) == ("progress", 100.0)
    assert shown.description == "The tests of WID-1: time used of its limit"


async def test_what_is_over_soon_shows_nothing() -> None:
    assert await working(0) == []
