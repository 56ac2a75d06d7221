"""A deploy to staging is journalled from its beginning to its end, whatever its run died of and whatever came since."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from pipeline.errors import CouldNotRun
from pipeline.model import Hook, HookEnd, WorkItem
from pipeline.stages import Stage
from pipeline.store import journal
from pipeline.store.leases import Lease
from tasks import staging
from tasks.stands import ItemStands
from tests.support.services import Desk, open_desk


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None]) -> AsyncIterator[Desk]:
    """A desk whose project has the sandbox's stands; tasks find its services."""
    async with open_desk(sandbox, tmp_path, project=stand_settings(sandbox.url)) as desk:
        at_work(desk)
        yield desk


def begun(desk: Desk, commit: str) -> tuple[WorkItem, Lease]:
    """An item whose run died when it had begun to bring `commit` to staging; owned by the next run."""
    item = desk.item(Stage.DEPLOY_STAGING, validated=commit)
    lease = desk.owned(item)
    said = {"subject": commit, "now": desk.clock.now}
    desk.store.write(lambda session: journal.start(session, item, staging.STAGE, lease, **said))
    return item, lease


def staged(desk: Desk, item: WorkItem) -> list[tuple[str, bool, str]]:
    effects = desk.store.read(journal.of_item, item.id)
    return [(e.key.rpartition(":")[2], e.open, e.outcome) for e in effects]


def stage_hooks(desk: Desk, item: WorkItem) -> int:
    return [one.work_item for one in desk.sandbox.stand("staging").deploys].count(item.key)


async def test_a_hook_whose_run_died_after_it_is_found_done_and_ends(desk: Desk) -> None:
    commit = desk.sandbox.repository().main
    item, lease = begun(desk, commit)
    assert (await ItemStands(desk.root, item, desk.project).run(Hook.STAGE, commit)).end is HookEnd.DONE
    assert await staging.deploy_to_staging.fn(item.key, lease, commit) is None
    assert staged(desk, item) == [(commit, False, f"staging was found to run {commit}")]
    assert stage_hooks(desk, item) == 1


async def test_what_a_dead_run_has_begun_for_another_commit_ends_and_says_why(desk: Desk) -> None:
    item, _lease = begun(desk, "a" * 40)
    await staging.end_overtaken.fn(item.key, but="a" * 40)
    assert staged(desk, item) == [("a" * 40, True, "")]
    await staging.end_overtaken.fn(item.key, but="b" * 40)
    assert staged(desk, item) == [("a" * 40, False, f"its run died; staging is brought to {'b' * 40} now")]


async def test_a_hook_that_could_not_run_leaves_nothing_open_and_is_begun_anew(desk: Desk) -> None:
    commit = desk.sandbox.commit("main", {"NEWS": "To be staged."}, "Tell the news", who="ada")
    item, lease = begun(desk, commit)
    desk.sandbox.break_stand("staging", "could_not_run", 1, hook="stage")
    with pytest.raises(CouldNotRun):
        await staging.deploy_to_staging.fn(item.key, lease, commit)
    assert staged(desk, item) == []
    ran = await staging.deploy_to_staging.fn(item.key, lease, commit)
    assert ran is not None
    assert staged(desk, item) == [(commit, False, f"{ran.end}: {ran.sentence}")]
