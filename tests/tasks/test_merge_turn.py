"""The merge lock at a real Prefect server: a holder that loses its lease goes on, for the lock is not the proof."""

import asyncio
import threading
from dataclasses import replace
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency import _leases

from deployments.limits import ensure_merge_limit
from deployments.prefect_server import PrefectServer, wait_until_healthy
from pipeline.stages import Stage
from tasks.landing import MergeLock, merge_turn
from tests.support.prefect_address import talking_to
from tests.support.services import Desk, until

RENEWED_BY = "concurrency-lease-renewal-"


async def test_a_run_whose_merge_lease_is_gone_ends_its_work_in_order(
    desk: Desk, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_leases, "_RENEWAL_FRACTION", 0.005)
    monkeypatch.setattr(_leases, "_RENEWAL_RETRY_BASE_DELAY", 0.1)
    project, item = desk.project.model_copy(update={"key": "LOST"}), desk.item(Stage.DEPLOY_STAGING)
    await wait_until_healthy(prefect_server.url, prefect_server.auth)
    with talking_to(prefect_server.url, prefect_server.auth):
        async with get_client() as client:
            await ensure_merge_limit(client, project)
            async with merge_turn(desk.root, replace(item, project="LOST"), project) as turn:
                assert isinstance(turn, MergeLock)
                await client.release_concurrency_slots_with_lease(_lease())
                await until(lambda: not _renewals(), within_s=30, what="the renewal given up")
                await asyncio.sleep(0.1)  # where a cancellation would come


def _renewals() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(RENEWED_BY)]


def _lease() -> UUID:
    [name] = _renewals()
    return UUID(name.removeprefix(RENEWED_BY))
