"""Who asks why nothing goes on is told what somebody has paused in Prefect."""

from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from deployments.pauses import _paused, paused
from deployments.pools import AGENTS, CONTROL
from deployments.registration import register
from pipeline.projects import Project, Registry
from pipeline.settings import Settings

REGISTRY = Registry((Project(key="WID", plane_project=UUID(int=1), repository="acme/wid", test_command=("true",)),))


async def test_each_thing_that_is_paused_is_named(empty: PrefectClient) -> None:
    ids = (await register(empty, registry=REGISTRY, agents_limit=1, control_limit=4)).deployments
    assert [what async for what in _paused(empty)] == []
    await empty.update_work_pool(AGENTS, WorkPoolUpdate(is_paused=True))
    queue = await empty.read_work_queue_by_name("merge", work_pool_name=CONTROL)
    await empty.update_work_queue(queue.id, is_paused=True)
    await empty.pause_deployment(ids["review"])
    assert {what async for what in _paused(empty)} >= {
        "work pool orch-agents",
        "work queue orch-control/merge",
        "deployment review",
    }


async def test_without_a_prefect_server_nobody_can_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    [sentence] = await paused(Settings(state_dir=tmp_path))
    assert sentence.startswith("Whether anything is paused in Prefect cannot be told: There is no ")
