"""What stands between a stage and its agent: the budget, the prompt, the walls, and who may let it go on."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.coding_agent import RoleTerms
from deployments.sandbox.client import SandboxClient
from pipeline.clients.bubblewrap import unavailable
from pipeline.clients.process_identity import identity
from pipeline.errors import CouldNotRun, StaleWrite
from pipeline.model import (
    AgentEnd,
    AgentJob,
    AgentOutcome,
    Choice,
    Decision,
    ProcessIdentity,
    Usage,
    WaitKind,
    WorkItem,
)
from pipeline.stages import Role, Stage
from pipeline.store import evidence, waits
from pipeline.store.evidence import AgentRun
from tasks import agents, branch
from tests.support.services import Desk, open_desk

confined_only = pytest.mark.skipif(bool(unavailable()), reason=f"commands cannot be confined: {unavailable()}")

WORKS = """
import json, pathlib, subprocess, sys
pathlib.Path("made.txt").write_text(sys.stdin.read())
subprocess.run(["git", "add", "-A"], check=True)
subprocess.run(["git", "commit", "-qm", "made"], check=True)
usage = {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 10}
print(json.dumps({"type": "result", "total_cost_usd": 0.75, "num_turns": 2, "usage": usage}))
"""
LOOKS_AROUND = """
import os, pathlib
print(dict(os.environ))
for top in ("/proc", os.environ["HOME"], os.getcwd(), %r):
    for folder, _, names in os.walk(top):
        for name in names:
            if top != "/proc" or name == "environ":
                try:
                    print(pathlib.Path(folder, name).open("rb").read(1_000_000).decode(errors="replace"))
                except OSError:
                    pass
"""


DeskWith = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def desk_with(sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None]) -> DeskWith:
    """A desk whose agent is a Python program, with these settings; tasks, called without Prefect, find its services."""

    @asynccontextmanager
    async def desk_with(program: str = WORKS, **changes: Any) -> AsyncIterator[Desk]:
        script = tmp_path / "agent.py"
        script.write_text(program)
        async with open_desk(sandbox, tmp_path, agent_command=(sys.executable, str(script)), **changes) as desk:
            at_work(desk)
            yield desk

    return desk_with


def log_of(run: AgentRun) -> str:
    return Path(run.log).read_text()


def have_the_agent_be(desk: Desk, program: str) -> None:
    Path(desk.settings.agent_command[1]).write_text(program)


async def worked(desk: Desk, item: WorkItem) -> AgentRun:
    await branch.prepare.fn(item.key, None)
    return await agents.work.fn(item.key, "run-1")


async def test_an_agent_works_and_is_accounted(desk_with: DeskWith) -> None:
    async with desk_with() as desk:
        item = desk.item()
        run = await worked(desk, item)
        assert (run.end, run.usage.cost_usd, run.usage.full_input) == (AgentEnd.FINISHED, 0.75, 150), run.sentence
        workspace = desk.root.workspace(desk.project)
        tip = workspace.tip(item.key)
        assert f"work item {item.key}" in (workspace.read(tip, "made.txt") or "")
        assert desk.store.read(evidence.spent_by, item.id).tokens == 160


# --- what it sees


@confined_only
async def test_it_finds_no_secret_of_orch_anywhere(
    desk_with: DeskWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_GITEA_TOKEN", "env-s3cret")
    (tmp_path / ".env").write_text("ORCH_PLANE_TOKEN=file-s3cret")
    async with desk_with(LOOKS_AROUND % str(tmp_path), settings_file=tmp_path / ".env", sandbox="required") as desk:
        for name in ("prefect-auth", "git-credentials"):
            (desk.settings.state_dir / name).write_text(f"{name}-s3cret")
        run = await worked(desk, desk.item())
        said = log_of(run)
        assert "ORCH_ROLE" in said
        assert "s3cret" not in said
        assert "SQLite format 3" not in said
        for secret in ("plane_token", "gitea_token", "plane_webhook_secret", "gitea_webhook_secret"):
            assert getattr(desk.settings, secret).get_secret_value() not in said


@confined_only
@pytest.mark.parametrize("network", [True, False])
async def test_without_network_it_reaches_no_local_service(desk_with: DeskWith, network: bool) -> None:
    async with desk_with(agent_network=network) as desk:
        have_the_agent_be(desk, f"import socket; socket.create_connection(('127.0.0.1', {_port(desk)}), 5)")
        run = await worked(desk, desk.item())
        assert (run.end is AgentEnd.FINISHED) is network


def _port(desk: Desk) -> int:
    return int(desk.settings.plane_url.rpartition(":")[2].partition("/")[0])


async def test_where_a_sandbox_is_required_and_missing_it_does_not_start(
    desk_with: DeskWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.clients.bubblewrap.unavailable", lambda: "bubblewrap is not installed")
    async with desk_with(sandbox="required") as desk:
        item = desk.item()
        with pytest.raises(CouldNotRun, match="ORCH_SANDBOX is required"):
            await worked(desk, item)
        assert desk.store.read(evidence.agent_runs, item.id) == []


async def test_where_it_may_work_longer_than_a_run_lasts_it_does_not_start(
    desk_with: DeskWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_with() as desk:
        item = desk.item()
        monkeypatch.setattr(desk.root.agent_block, "roles", {"analyst": RoleTerms(timeout_s=desk.settings.run_max_s)})
        with pytest.raises(CouldNotRun, match="raise ORCH_RUN_MAX_S"):
            await worked(desk, item)
        assert desk.store.read(evidence.agent_runs, item.id) == []


# --- what it is told


ASKS = """
import json
print(json.dumps({"type": "result", "question": "Which currency?"}))
"""


async def test_what_was_answered_is_known_to_later_attempts_too(desk_with: DeskWith) -> None:
    async with desk_with(ASKS) as desk:
        item = desk.item()
        assert (await worked(desk, item)).question == "Which currency?"
        desk.clock.forward(60)
        answer = Decision(WaitKind.ANSWER, Choice.ANSWER, "start", "ada", "Euros.", desk.root.now())
        desk.store.write(waits.decide, item, answer)
        have_the_agent_be(desk, "import sys; print(sys.stdin.read()); sys.exit(1)")
        said = "You asked: Which currency?\nThe answer: Euros."
        assert said in log_of(await worked(desk, item))
        item = desk.move(item, Stage.ANALYSIS)
        assert said in log_of(await worked(desk, item))


async def test_a_prompt_of_the_default_branch_is_used_and_one_of_the_task_branch_is_not(desk_with: DeskWith) -> None:
    async with desk_with() as desk:
        item = desk.item()
        path = ".orch/prompts/analyst.j2"
        desk.sandbox.commit("main", {path: "Ours for {{ work_item }}."}, "A prompt", who="api")
        desk.sandbox.commit(item.branch, {path: "Theirs."}, "Another prompt", who="api")
        await worked(desk, item)
        workspace = desk.root.workspace(desk.project)
        assert workspace.read(workspace.tip(item.key), "made.txt") == f"Ours for {item.key}."
        desk.sandbox.commit("main", {path: "one\n{{ nobody }}"}, "A broken prompt", who="api")
        with pytest.raises(CouldNotRun, match=r"analyst\.j2 of .*, branch main, line 2, .*'nobody' is undefined"):
            await worked(desk, desk.item())
        desk.sandbox.commit("main", {path: "Fine again."}, "A prompt", who="api")


# --- what it may cost


def decide(desk: Desk, item: WorkItem, commit: str) -> None:
    desk.store.write(waits.decide, item, Decision(WaitKind.BUDGET, Choice.APPROVE, commit, "ada", "", desk.root.now()))


async def test_a_used_up_budget_asks_and_each_decision_lets_one_run_start(desk_with: DeskWith) -> None:
    async with desk_with(budget_item_usd=0.5) as desk:
        item = desk.item()
        assert await agents.asks_for_budget.fn(item.key) is None
        await worked(desk, item)
        assert await agents.asks_for_budget.fn(item.key) is None  # its agent has worked: nothing will start
        item = desk.move(item, Stage.ARCHITECTURE)
        asked = await agents.asks_for_budget.fn(item.key)
        assert asked is not None
        assert (asked.kind, asked.commit) == (WaitKind.BUDGET, "run-2")
        assert asked.sentence == "The budget is used up: $0.75 of the item's $0.50."
        decide(desk, item, asked.commit)
        assert await agents.asks_for_budget.fn(item.key) is None
        await worked(desk, item)
        item = desk.move(item, Stage.DEVELOPMENT)
        asked = await agents.asks_for_budget.fn(item.key)
        assert asked is not None
        assert asked.commit == "run-3"


async def test_the_day_counts_all_items_and_ends_at_midnight_utc(desk_with: DeskWith) -> None:
    async with desk_with(budget_day_tokens=160) as desk:
        await worked(desk, desk.item())
        other = desk.item()
        asked = await agents.asks_for_budget.fn(other.key)
        assert asked is not None
        assert "160 of today's 160 tokens for all items" in asked.sentence
        desk.clock.forward(86_400)
        assert await agents.asks_for_budget.fn(other.key) is None


async def test_the_agent_is_told_what_is_left(desk_with: DeskWith) -> None:
    async with desk_with(budget_run_usd=2, budget_item_usd=1) as desk:
        item = desk.item()
        await worked(desk, item)
        item = desk.move(item, Stage.ARCHITECTURE)
        have_the_agent_be(desk, "import sys; print(sys.argv[1:])")
        desk.root.agent._command = (*desk.root.agent._command, "--max-budget-usd={max_budget_usd}")  # type: ignore[attr-defined]
        run = await worked(desk, item)
        assert log_of(run) == "['--max-budget-usd=0.25']\n"


async def test_a_run_that_was_interrupted_has_cost_what_it_said(desk_with: DeskWith) -> None:
    async with desk_with() as desk:
        item = desk.item()
        await branch.prepare.fn(item.key, None)
        start, log = desk.root.workspace(desk.project).tip(item.key), desk.settings.state_dir / "agent.log"
        log.write_text(json.dumps({"type": "assistant", "message": {"id": "m", "usage": {"output_tokens": 9}}}))
        desk.store.write(
            evidence.agent_started, item, "analyst", model="", effort="", log=log, start_commit=start, run=None,
            now=desk.root.now(),
        )  # fmt: skip
        assert await agents.clean_up.fn(item.key) == 1
        assert desk.store.read(evidence.spent_by, item.id).tokens == 9


async def test_a_run_that_was_cut_off_before_it_said_its_price_counts_as_its_tokens_cost_in_others(
    desk_with: DeskWith,
) -> None:
    cut_off = """
import json, sys
print(json.dumps({"type": "assistant", "message": {"id": "m", "usage": {"input_tokens": 320}}}))
sys.exit(1)
"""
    async with desk_with(cut_off, budget_item_usd=1.5) as desk:
        item = desk.item()
        assert (await worked(desk, item)).usage.cost_usd == 0
        assert desk.store.read(evidence.spent_by, item.id).usd == 0  # nobody knows yet what a token costs
        have_the_agent_be(desk, WORKS)
        await worked(desk, desk.item())
        assert desk.store.read(evidence.spent_by, item.id).usd == pytest.approx(320 * 0.75 / 160)
        item = desk.move(item, Stage.ANALYSIS)
        asked = await agents.asks_for_budget.fn(item.key)
        assert asked is not None
        assert asked.sentence == "The budget is used up: $1.50 of the item's $1.50."


@pytest.mark.parametrize("shared_disk", [True, False])
async def test_an_agent_that_died_on_another_host_keeps_nobody_from_working(
    desk_with: DeskWith, *, shared_disk: bool
) -> None:
    """A container that is made anew has another name: its runs are nobody's to end."""
    async with desk_with() as desk:
        item, start = desk.item(), "e" * 40
        if shared_disk:
            await branch.prepare.fn(item.key, None)
            start = desk.root.workspace(desk.project).tip(item.key)
        left_over(desk, item, start, replace(identity(os.getpid()), host="orch-7c9f"))
        assert await agents.clean_up.fn(item.key) == 1
        assert desk.store.read(evidence.unfinished_agent_runs, item.id) == []
        run = await worked(desk, item)
        assert run.end is AgentEnd.FINISHED, run.sentence


async def test_an_agent_that_somebody_else_ended_is_no_bug(
    desk_with: DeskWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STOP ends the agent and says so in the store, while the run that held it is still there for a moment."""
    async with desk_with() as desk:
        item = desk.item()
        work = desk.root.agent.run

        async def ended_meanwhile(job: AgentJob, **more: Any) -> AgentOutcome:
            outcome = await work(job, **more)
            [run] = desk.store.read(evidence.unfinished_agent_runs, item.id)
            desk.store.write(evidence.agent_interrupted, run.id, "Stopped.", Usage(), desk.root.now())
            return outcome

        monkeypatch.setattr(desk.root.agent, "run", ended_meanwhile)
        with pytest.raises(StaleWrite, match="was ended by another run"):
            await worked(desk, item)


def left_over(desk: Desk, item: WorkItem, start: str, process: ProcessIdentity) -> None:
    number = desk.store.write(
        evidence.agent_started, item, Role.ANALYST, model="", effort="", log=desk.settings.state_dir / "agent.log",
        start_commit=start, run="run-0", now=desk.root.now(),
    )  # fmt: skip
    desk.store.write(evidence.agent_process, number, process)
