"""An agent that judges a change may write its verdict, and nothing that would land without anybody's having seen it."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deployments.sandbox.client import SandboxClient
from flows import agent_page
from flows.agent_work import agent_work
from flows.run import Run
from pipeline.clients.workspace import GitWorkspace
from pipeline.model import AgentEnd, WorkItem
from pipeline.outcomes import Escalate, Outcome, RollBack
from pipeline.stages import ROWS, Role, Stage
from pipeline.store import evidence, items
from pipeline.store.evidence import AgentRun
from tasks import agents, bounds, branch
from tasks.ownership import Claimed, release
from tests.support.services import Desk, open_desk

REPORT = """
import os, pathlib, subprocess
def save(message):
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", message], check=True)
report = pathlib.Path(os.environ["ORCH_ARTIFACTS"], "report.md")
report.parent.mkdir(parents=True, exist_ok=True)
report.write_text("All is well.")
"""
REPAIR = f"{REPORT}pathlib.Path('shop/tax.py').write_text('repaired')\n"
COMMITTED = f"{REPAIR}save('a repair')\n"
UNDONE = f"{COMMITTED}subprocess.run(['git', 'revert', '--no-edit', 'HEAD'], check=True)\n"
DROPPED = f"{REPORT}subprocess.run(['git', 'reset', '-q', '--hard', 'HEAD~1'], check=True)\n"
CRASHED = f"{COMMITTED}raise SystemExit(1)\n"
ASKED = f"""{COMMITTED}print('{{"type": "result", "question": "Which one?"}}')\n"""

judges = pytest.mark.parametrize("at", [Stage.REVIEW, Stage.TESTING])


@pytest.fixture
async def desk(
    sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A desk at which tasks run as plain functions, and whose agent is a Python program."""
    for module, names in ((agents, ("clean_up", "asks_for_budget", "work")), (branch, ("prepare", "publish"))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).fn)
    monkeypatch.setattr(agent_page, "show", no_page)
    async with open_desk(sandbox, tmp_path, agent_command=(sys.executable, str(tmp_path / "agent.py"))) as desk:
        at_work(desk)
        yield desk


async def no_page(*_: Any) -> None:
    """There is no run whose page it could be on."""


class Killed(BaseException):
    """The process is gone, as after kill -9."""


def die(*_: Any) -> NoReturn:
    raise Killed


def come_to(desk: Desk, at: Stage) -> WorkItem:
    """An item at a stage, with a change that its developer has published."""
    item = desk.item(at)
    tip = desk.sandbox.commit(item.branch, {"shop/tax.py": item.key}, "The tax", who="api")
    return desk.store.write(items.update, item, None, desk.root.now(), tip=tip, head=tip)


def have_the_agent_be(desk: Desk, program: str) -> None:
    Path(desk.settings.agent_command[1]).write_text(program)


async def works(desk: Desk, item: WorkItem, program: str) -> Run | Outcome:
    """The item's stage up to its gates, with an agent that is this program."""
    have_the_agent_be(desk, program)
    claimed = Claimed(desk.again(item), desk.owned(item))
    try:
        return await agent_work(Run(desk.root, claimed.item, desk.project, claimed.lease, "run-1"))
    finally:
        release(desk.store, claimed, desk.root.now(), in_order=True)


def run_of(desk: Desk, item: WorkItem) -> AgentRun:
    return desk.store.read(evidence.agent_runs, item.id)[-1]


def published(desk: Desk, item: WorkItem) -> str | None:
    workspace = desk.root.workspace(desk.project)
    workspace.fetch()
    return workspace.remote_tip(item.branch)


@judges
async def test_a_report_is_published_and_moves_no_head(desk: Desk, at: Stage) -> None:
    item = come_to(desk, at)
    assert isinstance(await works(desk, item, REPORT), Run)
    assert published(desk, item) == desk.again(item).tip != item.tip
    assert desk.again(item).head == item.head


@judges
@pytest.mark.parametrize("program", [REPAIR, COMMITTED, UNDONE, DROPPED, CRASHED, ASKED])
async def test_of_a_judge_that_changes_code_nothing_is_kept_and_it_costs_an_attempt(
    desk: Desk, at: Stage, program: str
) -> None:
    item = come_to(desk, at)
    went = await works(desk, item, program)
    assert isinstance(went, RollBack)
    assert (went.to, went.role) == (at, ROWS[at].role)
    why = f"It changed shop/tax.py; at {at} only files below docs/work-items/{item.key}/ may be changed"
    assert why in went.feedback
    assert published(desk, item) == desk.again(item).tip == item.tip
    assert desk.root.workspace(desk.project).tip(item.key) == item.tip
    assert (run_of(desk, item).end, run_of(desk, item).question) == (AgentEnd.FAILED, "")
    assert await works(desk, item, REPORT) == went  # what was found is on record: no second agent, the same answer


async def test_past_its_attempts_a_person_is_called(desk: Desk) -> None:
    item = come_to(desk, Stage.TESTING)
    spent = {"tester": desk.root.caps[Role.TESTER]}
    item = desk.store.write(items.update, item, None, desk.root.now(), attempts=spent)
    assert isinstance(await works(desk, item, COMMITTED), Escalate)


@pytest.mark.parametrize("dies_in", ["changed_outside", "restore"])
async def test_who_is_killed_before_a_judges_run_is_recorded_lets_no_change_through(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    item = come_to(desk, Stage.TESTING)
    with monkeypatch.context() as patched:
        patched.setattr(bounds, "beginning", lambda workspace, of: workspace.tip(of.key))
        patched.setattr(GitWorkspace, dies_in, die)
        with pytest.raises(Killed):
            await works(desk, item, COMMITTED)
    assert run_of(desk, item).end is None
    assert isinstance(await works(desk, item, REPORT), Run)
    assert desk.again(item).head == item.head


async def test_what_a_killed_judge_left_does_not_become_the_developers_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = come_to(desk, Stage.TESTING)
    with monkeypatch.context() as patched:
        patched.setattr(bounds, "judged", die)
        with pytest.raises(Killed):
            await works(desk, item, COMMITTED)
    item = desk.move(desk.again(item), Stage.DEVELOPMENT)
    assert isinstance(await works(desk, item, REPORT), Run)
    assert desk.root.workspace(desk.project).read(published(desk, item) or "", "shop/tax.py") == item.key


async def test_a_judge_begins_without_what_was_left_unpublished(desk: Desk) -> None:
    item = come_to(desk, Stage.REVIEW)
    workspace = desk.root.workspace(desk.project)
    workspace.fetch()
    (workspace.worktree(item.key, item.branch) / "left.txt").write_text("by whom?")
    assert isinstance(await works(desk, item, REPORT), Run)
    assert workspace.read(published(desk, item) or "", "left.txt") is None


async def test_a_developer_changes_what_it_likes(desk: Desk) -> None:
    item = come_to(desk, Stage.DEVELOPMENT)
    assert isinstance(await works(desk, item, COMMITTED), Run)
    assert desk.again(item).head == published(desk, item) != item.head
