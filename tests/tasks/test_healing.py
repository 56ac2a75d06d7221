"""A machine is looked at without a run, as long as it has nothing to say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.counting import counted_requests
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from flows.reconcile import reconcile
from pipeline.model import Wait, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import crashes, waits
from pipeline.store.due import Standing
from tasks import ownership, services
from tasks.healing import Observed, heal_one
from tasks.reclaiming import reclaim_dead
from tests.pipeline.store.helpers import claimed
from tests.support.services import Desk, open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path) as opened:
        yield opened


def waits_for_ci(desk: Desk) -> tuple[WorkItem, Wait]:
    tip = desk.sandbox.repository().main
    item = desk.item(Stage.DEVELOPMENT, tip=tip, head=tip)
    now = desk.clock.now
    wait = desk.store.write(
        waits.begin, item, WaitKind.CI, key=f"ci-{item.key}", sentence="CI", now=now, look_again_at=now
    )
    return item, wait


async def test_ci_that_says_nothing_costs_one_call_and_no_run(desk: Desk) -> None:
    item, wait = await asyncio.to_thread(waits_for_ci, desk)
    with counted_requests({desk.sandbox.gitea_url: "gitea"}) as requests:
        assert await heal_one(desk.root, Standing(item, wait), Observed({}, {})) is None
    assert requests == {"gitea": 1}
    again = desk.wait_of(item)
    assert again is not None
    assert again.look_again_at == desk.clock.now + timedelta(seconds=desk.settings.ci_look_again_s)


async def test_a_forge_that_is_away_is_asked_again_later(desk: Desk) -> None:
    item, wait = await asyncio.to_thread(waits_for_ci, desk)
    desk.sandbox.fail_next("gitea", 1, status=503)
    assert await heal_one(desk.root, Standing(item, wait), Observed({}, {})) is None


def test_at_the_start_the_dead_are_reclaimed_at_once_and_the_living_are_left(desk: Desk) -> None:
    first, second = desk.item(Stage.REVIEW), desk.item(Stage.TESTING)
    for item in (first, second):
        claimed(desk.store, item, run=f"run-{item.id}", now=desk.clock.now)
    assert desk.store.write(reclaim_dead, desk.clock.now, lambda _: True) == []
    assert desk.store.write(reclaim_dead, desk.clock.now, lambda _: False) == [first.key, second.key]
    assert [(row.payload["event"], row.payload["stage"]) for row in desk.letters] == [
        ("orch.stage.entered", "review"), ("orch.stage.entered", "testing"),
    ]  # fmt: skip
    assert desk.store.write(reclaim_dead, desk.clock.now, lambda _: False) == []


def test_a_project_whose_runs_die_again_and_again_is_frozen_with_one_message(desk: Desk) -> None:
    items = [desk.item(Stage.REVIEW, failures=1) for _ in range(crashes.TOO_MANY + 1)]
    claims = [ownership.claim(desk.root, item.key, item.stage, f"run-{item.id}") for item in items]
    names = [claim.name if isinstance(claim, ownership.NotNow) else "claimed" for claim in claims]
    assert names == ["claimed"] * 4 + ["Frozen"] * 2
    frozen = [row for row in desk.letters if row.kind == "message" and "frozen" in row.payload["html"]]
    assert len(frozen) == 1
    assert "orch thaw SHOP" in frozen[0].payload["html"]


async def test_switched_off_the_tick_makes_no_call_at_all(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_desk(sandbox, tmp_path, reconcile_enabled=False) as desk:
        desk.item(Stage.REVIEW)
        desk.clock.forward(600)
        monkeypatch.setattr(services, "_made", [desk.root])
        with counted_requests({}) as requests:
            state = await reconcile.fn()
        assert (state.name, requests) == ("Off", {})
