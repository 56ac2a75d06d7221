"""The command agent runs a real program and reads what it says about itself."""

import asyncio
import json
import sys
from dataclasses import replace

import pytest

from pipeline.clients.agent import MAX_QUOTE_CHARS, CommandAgent, tail
from pipeline.clients.agent_stream import read_stream
from pipeline.clients.process_identity import alive
from pipeline.errors import CouldNotRun
from pipeline.model import AgentEnd, AgentJob, Usage
from pipeline.stages import Role

RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 7,
    "result": "Done.",
    "total_cost_usd": 0.25,
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 30,
        "output_tokens": 4,
        "server_tool_use": {"web_search_requests": 0},
    },
    "modelUsage": {"some-model": {}},
}
USAGE = Usage(10, 200, 30, 4, 0.25, 7)


@pytest.fixture
def job(tmp_path):
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    return AgentJob(
        role=Role.DEVELOPER,
        work_item="WID-12",
        worktree=worktree,
        prompt="Do it – carefully.\n",
        log=tmp_path / "runs" / "developer-1.log",
        timeout_s=30,
        idle_timeout_s=30,
        environment={"ONLY": "this"},
    )


async def run(job, code, *, arguments=(), started=lambda _: None):
    return await CommandAgent((sys.executable, "-c", code, *arguments)).run(job, started=started)


def says(*lines, then=""):
    """A program that prints these lines (mappings as JSON)."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return f"print({chr(10).join(texts)!r})\n{then}"


async def test_a_result_line_tells_usage(job):
    outcome = await run(job, says({"type": "system"}, "not JSON", RESULT))
    assert (outcome.end, outcome.exit_code, outcome.usage) == (AgentEnd.FINISHED, 0, USAGE)
    assert outcome.usage.full_input == 240
    assert outcome.sentence == "The developer's agent finished."


async def test_the_agent_gets_prompt_folder_and_exactly_the_given_environment(job):
    code = "import os,sys,json; print(json.dumps([sys.stdin.buffer.read().decode(), os.getcwd(), sorted(os.environ)]))"
    await run(job, code)
    prompt, folder, names = json.loads(job.log.read_text())
    assert (prompt, folder) == (job.prompt, str(job.worktree))
    assert [name for name in names if name != "LC_CTYPE"] == ["ONLY"]  # Python itself sets LC_CTYPE
    assert job.log.with_name("developer-1.prompt.md").read_text() == job.prompt


async def test_model_and_effort_are_filled_in_and_left_out_when_not_set(job):
    arguments = ("--model={model}", "--effort={effort}", "{other}")
    code = "import sys; print(sys.argv[1:])"
    await run(replace(job, model="large"), code, arguments=arguments)
    assert job.log.read_text().strip() == "['--model=large', '{other}']"


async def test_a_prompt_can_be_a_file_instead(job):
    code = "import sys; print(open(sys.argv[1][9:]).read() + sys.stdin.read() + '|')"
    await run(job, code, arguments=("--prompt={prompt_file}",))
    assert job.log.read_text() == f"{job.prompt}|\n"


async def test_limits_are_filled_in_and_a_cost_beyond_them_is_told(job):
    code = f"import sys; print(sys.argv[1:]); {says(RESULT)}"
    limits = ("--turns={max_turns}", "--usd={max_budget_usd}")
    outcome = await run(replace(job, max_turns=5, max_budget_usd=0.1), code, arguments=limits)
    assert job.log.read_text().startswith("['--turns=5', '--usd=0.10']")
    assert outcome.sentence == "The developer's agent finished. It cost $0.25, more than the $0.10 it had."
    await run(job, code, arguments=limits)
    assert job.log.read_text().startswith("[]")


async def test_without_a_result_line_nothing_was_used(job):
    outcome = await run(job, "print('worked')")
    assert (outcome.end, outcome.usage, outcome.question) == (AgentEnd.FINISHED, Usage(), "")


async def test_the_last_result_line_counts_and_broken_ones_do_not(job):
    first = RESULT | {"num_turns": 1, "is_error": True}
    outcome = await run(
        job, says(first, RESULT, '{"type": "result", "num_turns": 9', '{"a": ' + "[" * 10_000 + '"result"')
    )
    assert (outcome.end, outcome.usage) == (AgentEnd.FINISHED, USAGE)


async def test_a_log_that_is_not_text_is_read_all_the_same(job):
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x00\\n' + b'x' * 100_000 + b'\\n')\n"
    outcome = await run(job, code + f"print({json.dumps(RESULT)!r})")
    assert outcome.usage == USAGE


async def test_numbers_that_are_none_count_as_nothing_and_are_named(job):
    odd = RESULT | {
        "num_turns": True,
        "total_cost_usd": float("nan"),
        "usage": RESULT["usage"] | {"output_tokens": "4"},
    }
    outcome = await run(job, says(odd))
    assert (outcome.end, outcome.usage) == (AgentEnd.FINISHED, Usage(10, 200, 30, 0, 0.0, 0))
    assert outcome.sentence.endswith("no amounts: usage.output_tokens, total_cost_usd, num_turns.")


@pytest.mark.parametrize("usage", [None, [], "none", -1])
async def test_a_usage_that_is_no_mapping_counts_as_nothing(job, usage):
    outcome = await run(job, says(RESULT | {"usage": usage}))
    assert outcome.usage == Usage(cost_usd=0.25, turns=7)
    assert "usage.input_tokens" in outcome.sentence


@pytest.mark.parametrize("number", [-1, 1e400, 2**60, {}, None])
async def test_an_amount_that_cannot_be_is_not_counted(job, number):
    assert (await run(job, says(RESULT | {"total_cost_usd": number}))).usage == replace(USAGE, cost_usd=0.0)


async def test_an_exit_code_is_a_failure_with_the_last_words(job):
    outcome = await run(job, says(RESULT, "first", "no licence found", then="raise SystemExit(3)"))
    assert (outcome.end, outcome.exit_code, outcome.usage) == (AgentEnd.FAILED, 3, USAGE)
    assert outcome.sentence.startswith("The developer's agent ended with exit code 3")
    assert outcome.sentence.endswith("no licence found")


async def test_a_silent_failure_says_that_it_is_silent(job):
    outcome = await run(job, "raise SystemExit(1)")
    assert outcome.sentence == "The developer's agent ended with exit code 1. It left no word in its log."


async def test_an_error_in_the_result_is_a_failure_in_spite_of_exit_code_0(job):
    outcome = await run(job, says(RESULT | {"is_error": True, "subtype": "error_max_turns", "question": "Why?"}))
    assert (outcome.end, outcome.exit_code, outcome.question) == (AgentEnd.FAILED, 0, "")
    assert "reported an error (stopped at its limit of turns)" in outcome.sentence


async def test_last_words_are_limited_and_without_control_characters(job):
    outcome = await run(job, f"print('\\x1b[31m' + 'word ' * 5_000, end='the end')\n{'raise SystemExit(2)'}")
    assert len(outcome.sentence) < MAX_QUOTE_CHARS + 100
    assert "\x1b" not in outcome.sentence
    assert outcome.sentence.endswith("the end")


@pytest.mark.parametrize(
    "asking",
    [
        {"question": " Which currency? "},
        {"result": '{"question": "Which currency?"}'},
        {"result": '\n {"question": "Which currency?"}\n'},
        {"result": '```json\n{"question": "Which currency?"}\n```'},
        {"result": '```\n{\n  "question": "Which currency?"\n}\n```\n'},
    ],
)
async def test_a_question_is_handed_on(job, asking):
    outcome = await run(job, says(RESULT | asking))
    assert (outcome.end, outcome.question, outcome.usage) == (AgentEnd.FINISHED, "Which currency?", USAGE)
    assert outcome.sentence == "The developer's agent asks: Which currency?"


@pytest.mark.parametrize(
    "asking",
    [
        {"question": ["a"]},
        {"question": ""},
        {"result": 'See {"question": "x"}'},
        {"result": 'So:\n```json\n{"question": "x"}\n```'},
        {"result": '["question"]'},
    ],
)
async def test_what_is_no_question_asks_nothing(job, asking):
    assert (await run(job, says(RESULT | asking))).question == ""


async def test_an_agent_that_takes_too_long_is_ended(job):
    outcome = await run(replace(job, timeout_s=0.5), "import time; print('on it', flush=True); time.sleep(60)")
    assert (outcome.end, outcome.question) == (AgentEnd.TIMED_OUT, "")
    assert "time limit of 0.5 s" in outcome.sentence


async def test_an_agent_that_falls_silent_is_ended(job):
    outcome = await run(replace(job, idle_timeout_s=0.5), "import time; print('on it', flush=True); time.sleep(60)")
    assert outcome.end is AgentEnd.IDLE
    assert "nothing for 0.5 s" in outcome.sentence


async def test_the_process_is_told_of_and_gone_once_the_run_is_cancelled(job):
    known = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(job, "import time; time.sleep(60)", started=known.set_result))
    who = await known
    assert alive(who)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(who)


async def test_a_program_that_is_not_there_could_not_run(job):
    with pytest.raises(CouldNotRun, match="no-such-agent"):
        await CommandAgent(("no-such-agent",)).run(job, started=lambda _: None)


def test_a_log_without_a_result_has_none(tmp_path):
    log = tmp_path / "log"
    log.write_text('{"type": "assistant", "text": "result"}\n["result"]\n')
    assert not read_stream(log).complete
    assert tail(log, 20).startswith("…")
    assert len(tail(log, 20)) == 20
