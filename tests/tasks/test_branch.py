"""Orch's own test runs: made once, recorded, and repeated where a project's tests are flaky."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from deployments.sandbox.client import SandboxClient
from pipeline.errors import CouldNotRun
from pipeline.model import TestRun, WorkItem
from pipeline.projects import Project
from pipeline.stages import Stage
from pipeline.store import evidence
from pipeline.store.tables import CheckRunRow
from tasks import branch
from tests.support.services import Desk, open_desk

FLAKY = """#!/bin/sh
echo run >> "$0.runs"
[ "$(wc -l < "$0.runs")" -ge {green_at} ] && {{ echo "2 passed in 0.1s"; exit 0; }}
echo "FAILED test_shop.py::test_total - $(wc -l < "$0.runs")"
echo "1 failed, 1 passed in 0.1s"
{then}
exit 1
"""
RED = "1 of 2 tests failed: test_total"


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path, sandbox="off") as desk:  # the tests count their runs outside
        yield desk


@pytest.fixture
def item(desk: Desk) -> WorkItem:
    return desk.item(Stage.TESTING)


@pytest.fixture
def flaky(tmp_path: Path) -> Path:
    return tmp_path / "flaky"


def project(desk: Desk, flaky: Path, *, green_at: int, then: str = ":", repeat: bool = True) -> Project:
    """The desk's project, with tests that are green from their `green_at`th run on."""
    flaky.write_text(FLAKY.format(green_at=green_at, then=then))
    flaky.chmod(0o755)
    return desk.project.model_copy(update={"test_command": (str(flaky),), "repeat_red_tests": repeat})


async def run(desk: Desk, item: WorkItem, project: Project, purpose: str = "testing") -> TestRun:
    return await branch.tested(desk.root, item, project, desk.root.workspace(project).fetch(), purpose)


def runs(flaky: Path) -> int:
    return len(Path(f"{flaky}.runs").read_text().splitlines())


def mend(flaky: Path) -> None:
    flaky.chmod(0o755)


def log_of(row: CheckRunRow) -> str:
    return Path(row.log).read_text()


def recorded(desk: Desk) -> list[CheckRunRow]:
    def rows(session: Session) -> list[CheckRunRow]:
        return list(session.exec(select(CheckRunRow).order_by(col(CheckRunRow.id))).all())

    return desk.store.read(rows)


async def test_a_green_run_is_made_once(desk: Desk, item: WorkItem, flaky: Path) -> None:
    shop = project(desk, flaky, green_at=1)
    first = await run(desk, item, shop)
    assert (first.passed, first.sentence) == (True, "2 tests passed")
    assert await run(desk, item, shop) == first
    assert runs(flaky) == 1


async def test_a_red_run_stands_where_the_project_does_not_repeat(desk: Desk, item: WorkItem, flaky: Path) -> None:
    shop = project(desk, flaky, green_at=2, repeat=False)
    assert (await run(desk, item, shop)).sentence == RED
    assert (await run(desk, item, shop)).sentence == RED
    assert runs(flaky) == 1


async def test_a_red_run_is_repeated_once_and_both_are_recorded(desk: Desk, item: WorkItem, flaky: Path) -> None:
    shop = project(desk, flaky, green_at=2)
    second = await run(desk, item, shop)
    assert second.passed
    assert second.sentence == f"2 tests passed: green on the second run (first: {RED})"
    first_row, second_row = recorded(desk)
    assert (first_row.passed, first_row.sentence, first_row.failing) == (False, RED, ["test_total"])
    assert (second_row.passed, second_row.sentence) == (True, second.sentence)
    assert ("1 failed" in log_of(first_row), "2 passed" in log_of(second_row)) == (True, True)
    assert await run(desk, item, shop) == second
    assert runs(flaky) == 2


async def test_a_run_that_is_red_twice_is_red_and_not_run_a_third_time(desk: Desk, item: WorkItem, flaky: Path) -> None:
    shop = project(desk, flaky, green_at=9)
    second = await run(desk, item, shop)
    assert (second.passed, second.failing) == (False, ("test_total",))
    assert second.sentence == f"{RED}: red on the second run, too (first: {RED})"
    assert await run(desk, item, shop) == second
    assert runs(flaky) == 2


async def test_a_run_that_was_broken_off_between_the_two_goes_on_with_the_second(
    desk: Desk, item: WorkItem, flaky: Path
) -> None:
    shop = project(desk, flaky, green_at=2, then='chmod -x "$0"')
    with pytest.raises(CouldNotRun, match="flaky"):
        await run(desk, item, shop)
    mend(flaky)
    assert (await run(desk, item, shop)).sentence.endswith(f"green on the second run (first: {RED})")
    assert (runs(flaky), len(recorded(desk))) == (2, 2)


async def test_a_new_visit_runs_red_tests_anew(desk: Desk, item: WorkItem, flaky: Path) -> None:
    shop = project(desk, flaky, green_at=4)
    assert not (await run(desk, item, shop)).passed
    desk.clock.forward(60)
    again = desk.move(desk.move(desk.move(item, Stage.DEVELOPMENT), Stage.REVIEW), Stage.TESTING)
    assert again.entered_at == item.entered_at + timedelta(seconds=60)
    assert (await run(desk, again, shop)).passed
    assert runs(flaky) == 4


async def test_a_green_second_run_counts_for_landing_and_a_red_first_does_not(
    desk: Desk, item: WorkItem, flaky: Path
) -> None:
    purpose = f"{evidence.MERGE_PURPOSE}{'c' * 12}"
    broken_off = project(desk, flaky, green_at=2, then='chmod -x "$0"')
    with pytest.raises(CouldNotRun):
        await run(desk, item, broken_off, purpose)
    assert desk.store.read(evidence.tested_for_landing, item.id) is None
    mend(flaky)
    landed = await run(desk, item, broken_off, purpose)
    assert desk.store.read(evidence.tested_for_landing, item.id) == landed.commit
