"""The page of a run tells how its agent went, what it used up, and what it said last."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.logging import disable_run_logger

from flows import agent_page
from pipeline.model import AgentEnd, Usage
from pipeline.stages import Role, Stage
from pipeline.store.evidence import AgentRun
from tests.support.services import Desk


def run(log: Path, sentence: str = "The tester's agent finished.") -> AgentRun:
    now, usage = datetime.now(UTC), Usage(900, 8_000, 100, 700, 0.125, 3)
    return AgentRun(
        1, Role.TESTER, 2, now, now, AgentEnd.FINISHED, 0, sentence, "", usage, 61.4, str(log), "c" * 40, None
    )


def test_it_has_sentence_end_usage_and_the_log(tmp_path: Path) -> None:
    text = agent_page.markdown(run(tmp_path / "agent.log"), "its last words")
    for said in (
        "The tester's agent finished.",
        "| role | tester |",
        "| end | finished |",
        "| duration | 61 s |",
        "| turns | 3 |",
        "| tokens in | 9,000 (8,000 read from the cache, 100 written to it) |",
        "| tokens out | 700 |",
        "| cost | $0.12 |",
        f"| log | `{tmp_path}/agent.log` |",
        "```text\nits last words\n```",
    ):
        assert said in text


def test_nothing_that_an_agent_says_leaves_its_fence(tmp_path: Path) -> None:
    text = agent_page.markdown(run(tmp_path, sentence="``` # mine"), "````\n# also mine")
    assert text.count("`````text") == 2
    assert text.count("`````") == 4


def test_only_the_last_lines_of_a_log_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_bytes(b"\xff\x1b[31m" + b"".join(b"line %d\n" % number for number in range(10_000)))
    shown = agent_page.last_lines(log).splitlines()
    assert (shown[-1], len(shown) <= agent_page.LINES) == ("line 9999", True)
    assert agent_page.last_lines(tmp_path / "elsewhere.log") == ""


async def test_a_prefect_that_does_not_answer_keeps_nobody_from_going_on(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(**_: Any) -> None:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(agent_page, "acreate_markdown_artifact", away)
    with disable_run_logger():
        await agent_page.show(desk.item(Stage.TESTING), run(tmp_path / "agent.log"))
