"""Whose push it was that the task branch stands at: ours is gone on with, somebody else's is judged first."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import StaleWrite
from pipeline.model import Found, WorkItem
from pipeline.stages import Stage
from pipeline.store import items
from pipeline.workspace import Workspace
from tasks import branch
from tests.support.services import Desk


@pytest.fixture(autouse=True)
def working(desk: Desk, at_work: Callable[[Desk], None]) -> None:
    at_work(desk)


def at(desk: Desk, stage: Stage) -> WorkItem:
    """An item at this stage, whose branch stands where Orch has pushed it."""
    item = desk.item(stage)
    tip = desk.sandbox.commit(item.branch, {"shop/receipt.py": "TOTAL = 1\n"}, who="api")
    return update(desk, item, tip=tip, head=tip)


def update(desk: Desk, item: WorkItem, **columns: str) -> WorkItem:
    return desk.store.write(items.update, item, None, desk.clock.now, **columns)


def somebody_pushes(desk: Desk, item: WorkItem) -> str:
    return desk.sandbox.commit(item.branch, {"shop/receipt.py": "TOTAL = 2\n"})


def workspace(desk: Desk) -> Workspace:
    return desk.root.workspace(desk.project)


async def prepared(item: WorkItem) -> Found | None:
    return await branch.prepare.fn(item.key, None)


@pytest.mark.parametrize("stage", [Stage.REVIEW, Stage.TESTING, Stage.DEPLOY_STAGING])
async def test_somebody_elses_push_is_judged_before_it_is_taken_over(desk: Desk, stage: Stage) -> None:
    item = at(desk, stage)
    assert await prepared(item) is None
    theirs = somebody_pushes(desk, item)
    assert await prepared(item) == Found(theirs, theirs)
    assert desk.again(item).tip == item.tip
    assert workspace(desk).tip(item.key) == theirs


async def test_it_is_found_again_by_the_next_run_when_this_one_dies(desk: Desk) -> None:
    item = at(desk, Stage.DEPLOY_STAGING)
    theirs = somebody_pushes(desk, item)
    assert await prepared(item) == await prepared(item) == Found(theirs, theirs)


async def test_it_is_not_taken_for_ours_where_the_worktree_was_lost(desk: Desk) -> None:
    item = at(desk, Stage.DEPLOY_STAGING)
    await prepared(item)
    theirs = somebody_pushes(desk, item)
    workspace(desk).remove(item.key)
    assert await prepared(item) == Found(theirs, theirs)


async def test_before_anything_is_judged_it_is_simply_taken_over(desk: Desk) -> None:
    item = at(desk, Stage.DEVELOPMENT)
    theirs = somebody_pushes(desk, item)
    assert await prepared(item) is None
    assert desk.again(item).tip == theirs


@pytest.mark.parametrize("lost", [False, True], ids=["with its worktree", "without it"])
async def test_what_a_run_of_ours_pushed_before_it_died_is_ours(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    item = at(desk, Stage.TESTING)
    await prepared(item)
    made_here(desk, item)
    with monkeypatch.context() as dying:
        dying.setattr(branch, "record", _dies)
        with pytest.raises(KeyboardInterrupt):
            await branch.publish.fn(item.key, None, "the report")
    if lost:
        workspace(desk).remove(item.key)
    assert await prepared(item) is None
    tip = desk.again(item).tip
    assert tip not in (None, item.tip)
    assert tip == workspace(desk).remote_tip(item.branch)


async def test_a_commit_that_was_pushed_once_is_somebody_elses_when_it_comes_back(desk: Desk) -> None:
    item = at(desk, Stage.TESTING)
    await prepared(item)
    made_here(desk, item)
    await branch.publish.fn(item.key, None, "the report")
    assert desk.again(item).pushing is None


async def test_nothing_is_pushed_over_what_somebody_has_pushed_meanwhile(desk: Desk) -> None:
    item = at(desk, Stage.TESTING)
    await prepared(item)
    theirs = somebody_pushes(desk, item)
    made_here(desk, item)
    with pytest.raises(StaleWrite):
        await branch.publish.fn(item.key, None, "the report")
    assert await prepared(item) == Found(theirs, theirs)


def made_here(desk: Desk, item: WorkItem) -> None:
    folder = workspace(desk).worktree(item.key, item.branch)
    (folder / "shop" / "tax.py").write_text("TAX = 1\n")


async def _dies(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
