"""`orch log` and `orch cost`: what agents did, and what it cost."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from deployments import cli
from pipeline.model import AgentEnd, AgentOutcome, Usage, WorkItem
from pipeline.stages import Role
from pipeline.store import evidence
from tests.support.services import Desk


def orch(*words: str) -> Result:
    result = CliRunner().invoke(cli.app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def worked(desk: Desk, item: WorkItem, folder: Path, text: str, usage: Usage, role: Role = Role.DEVELOPER) -> None:
    """An agent that ended, with a log of its own."""
    number = len(desk.store.read(evidence.agent_runs, item.id))
    log = folder / f"{item.key}-{number}.log"
    log.write_text(text)
    run = desk.store.write(
        evidence.agent_started, item, role, model="", effort="", log=log, start_commit="a" * 40, run="run",
        now=desk.clock.now,
    )  # fmt: skip
    outcome = AgentOutcome(AgentEnd.FINISHED, "The agent finished.", 0, usage, 1.5)
    desk.store.write(evidence.agent_finished, run, outcome, desk.clock.now)


def told(*words: str) -> Any:
    result = orch(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_log_lists_all_runs_and_shows_the_end_of_the_last(desk: Desk, tmp_path: Path) -> None:
    item = desk.item()
    worked(desk, item, tmp_path, "first\n", Usage())
    worked(desk, item, tmp_path, "\x1b[31mone\ntwo\nthree\n", Usage())
    found = told("log", item.key, "--lines", "2")
    assert ([run["number"] for run in found["runs"]], found["run"], found["tail"]) == ([1, 2], 2, "two\nthree")
    assert told("log", item.key, "--run", "1")["tail"] == "first"
    page = orch("log", item.key).stdout
    assert "three" in page
    assert "\x1b[31m" not in page


def test_a_run_or_an_item_that_is_not_there_is_a_sentence(desk: Desk) -> None:
    item = desk.item()
    assert told("log", item.key) == {"key": item.key, "runs": [], "run": None, "tail": ""}
    assert "has 0 agent runs, so there is no run 1" in orch("log", item.key, "--run", "1").stderr
    for command in ("log", "cost"):
        assert "There is no work item SHOP-999" in orch(command, "SHOP-999").stderr


def test_a_log_that_was_removed_is_told_as_empty(desk: Desk, tmp_path: Path) -> None:
    item = desk.item()
    worked(desk, item, tmp_path, "gone\n", Usage())
    (tmp_path / f"{item.key}-0.log").unlink()
    assert told("log", item.key)["tail"] == ""
    assert "the file is gone" in orch("log", item.key).stdout


def test_costs_are_told_for_each_item_and_all_with_the_cached_input_apart(desk: Desk, tmp_path: Path) -> None:
    one, other = desk.item(), desk.item()
    worked(desk, one, tmp_path, "", Usage(10, 900, 90, 50, 0.25, 3))
    worked(desk, one, tmp_path, "", Usage(1, 0, 0, 5, 0.5, 1))
    worked(desk, other, tmp_path, "", Usage(4, 0, 0, 1, 1.0, 1))
    whole = told("cost")
    spent = {
        entry["key"]: (entry["input_tokens"], entry["cached_tokens"], entry["cost_usd"]) for entry in whole["items"]
    }
    assert spent == {one.key: (1001, 900, 0.75), other.key: (4, 0, 1.0)}
    assert (whole["total"]["runs"], whole["total"]["output_tokens"], whole["total"]["cost_usd"]) == (3, 56, 1.75)
    assert [entry["key"] for entry in told("cost", one.key)["items"]] == [one.key]
    assert "1,005" in orch("cost").stdout
