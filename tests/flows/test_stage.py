"""The shape of all stages without a Prefect server: how a pass ends that could not even begin."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from flows import stage
from pipeline.model import Hold
from pipeline.projects import Registry
from pipeline.stages import Stage
from tasks.ownership import Claimed, claim
from tests.support.services import open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


async def test_the_item_of_a_project_that_was_taken_out_of_the_registry_is_blocked_and_people_are_told(
    sandbox: SandboxClient, tmp_path: Path
) -> None:
    async def work(_run: stage.Run) -> stage.Run:
        raise AssertionError("nothing can be worked on")

    async with open_desk(sandbox, tmp_path) as desk:
        item = desk.item(Stage.REVIEW)
        claimed = claim(desk.root, item.key, item.stage, "run-1")
        assert isinstance(claimed, Claimed)
        object.__setattr__(desk.root, "projects", Registry())
        with disable_run_logger():
            state = await stage._guarded(desk.root, claimed, "run-1", work)
        why = "Project SHOP is not in the registry any more; put it back or stop its items."
        assert (state.name, state.message) == ("Blocked", why)
        assert (desk.again(item).hold, desk.again(item).hold_reason) == (Hold.BLOCKED, why)
        assert [row.kind for row in desk.letters if why in str(row.payload.get("html"))] == ["message", "comment"]


@pytest.mark.parametrize(("api", "name"), [(200, "Waiting for the next try"), (404, "Blocked")])
async def test_where_git_is_turned_away_the_forges_api_tells_whether_a_person_has_to_mend_it(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: int, name: str
) -> None:
    async def present(_run: stage.Run) -> None:
        """There is no run in Prefect to be named."""

    async def work(run: stage.Run) -> stage.Run:
        await asyncio.to_thread(run.root.workspace(run.project).fetch)
        raise AssertionError("git is turned away")

    monkeypatch.setattr(stage, "_present", present)
    async with open_desk(sandbox, tmp_path) as desk:
        item = desk.item(Stage.DEVELOPMENT)
        claimed = claim(desk.root, item.key, item.stage, "run-1")
        assert isinstance(claimed, Claimed)
        sandbox.fail_next("gitea", 1000, status=404, match="info/refs")
        if api != 200:
            sandbox.fail_next("gitea", 1000, status=api, match="/api/v1/repos/acme/shop")
        try:
            with disable_run_logger():
                state = await stage._guarded(desk.root, claimed, "run-1", work)
        finally:
            sandbox.clear_faults()
    assert state.name == name
    assert "git was turned away" in str(state.message)


async def test_a_run_that_prefect_knows_no_more_is_no_bug_and_its_stage_is_tried_again(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(_run: stage.Run) -> None:
        raise ObjectNotFound(http_exc=Exception("404"))

    async def work(_run: stage.Run) -> stage.Run:
        raise AssertionError("nothing is worked on")

    monkeypatch.setattr(stage, "_present", unknown)
    async with open_desk(sandbox, tmp_path) as desk:
        item = desk.item(Stage.REVIEW)
        claimed = claim(desk.root, item.key, item.stage, "run-1")
        assert isinstance(claimed, Claimed)
        with disable_run_logger():
            state = await stage._guarded(desk.root, claimed, "run-1", work)
        assert (state.name, desk.again(item).hold) == ("Waiting for the next try", None)
