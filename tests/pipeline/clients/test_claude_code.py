"""Claude Code as its documentation describes it, played by a stand-in that replays streams, good and broken."""

import json
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.clients.agent import CommandAgent
from pipeline.clients.agent_stream import MAX_LINE_BYTES, Said, read_stream
from pipeline.clients.claude_code import Options, command_line
from pipeline.model import AgentEnd, AgentJob, Usage
from pipeline.stages import Role

INIT = {"type": "system", "subtype": "init", "session_id": "s-1", "model": "some-model", "tools": ["Bash"]}
USED = {
    "input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 7,
    "service_tier": "standard",
}  # fmt: skip
RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "duration_ms": 1000, "duration_api_ms": 900,
    "num_turns": 2, "result": "Done.", "session_id": "s-1", "total_cost_usd": 0.5, "usage": USED,
    "modelUsage": {"some-model": {"costUSD": 0.5}}, "permission_denials": [], "new_in_this_version": {"a": 1},
}  # fmt: skip


def message(number, **usage):
    return {"type": "assistant", "message": {"id": f"msg_{number}", "usage": USED | usage, "content": []}}


STAND_IN = """#!{python} -S
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
prompt = sys.stdin.read()
(here / "seen.json").write_text(json.dumps([sys.argv[1:], prompt]))
sys.stdout.flush()
sys.stdout.buffer.write((here / "stream").read_bytes())
sys.stdout.buffer.flush()
time.sleep(float((here / "hang").read_text()))
sys.exit(int((here / "code").read_text()))
"""


@pytest.fixture
def claude(tmp_path):
    """Run the stand-in with a stream of lines (mappings as JSON); the outcome and what the stand-in was given."""
    folder, worktree = tmp_path / "bin", tmp_path / "worktree"
    folder.mkdir()
    worktree.mkdir()
    program = folder / "claude"
    program.write_text(STAND_IN.replace("{python}", sys.executable))
    program.chmod(0o755)
    job = AgentJob(
        role=Role.DEVELOPER,
        work_item="WID-12",
        worktree=worktree,
        prompt="Do it.\n",
        log=tmp_path / "developer.log",
        timeout_s=30,
        idle_timeout_s=30,
        environment={},
    )

    async def claude(*lines, code=0, hang=0.0, options=None, **changes):
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        (folder / "stream").write_bytes(b"\n".join(texts))
        (folder / "code").write_text(str(code))
        (folder / "hang").write_text(str(hang))
        agent = CommandAgent(command_line((str(program),), options or Options()), tells_result=True)
        outcome = await agent.run(replace(job, **changes), started=lambda _: None)
        seen = folder / "seen.json"
        return outcome, json.loads(seen.read_text()) if seen.exists() else None

    return claude


async def test_a_good_stream_is_accounted_by_its_result_line(claude):
    outcome, (arguments, prompt) = await claude(INIT, message(1), message(2), RESULT)
    assert (outcome.end, outcome.usage) == (AgentEnd.FINISHED, Usage(3, 100, 20, 7, 0.5, 2))
    assert outcome.sentence == "The developer's agent finished."
    assert prompt == "Do it.\n"
    assert arguments == [
        *("-p", "--output-format=stream-json", "--verbose", "--permission-mode=acceptEdits"),
        "--allowedTools=Bash,Edit,Glob,Grep,Read,Write",
    ]


async def test_every_documented_limit_is_passed_on(claude):
    options = Options("plan", ("Read", "Bash(git log:*)"), ("WebFetch",), "Be brief.")
    _, (arguments, _) = await claude(
        RESULT, options=options, model="opus", max_turns=9, max_budget_usd=1.5, effort="high"
    )
    assert arguments[3:] == [
        *("--model=opus", "--max-turns=9", "--max-budget-usd=1.50", "--permission-mode=plan"),
        *("--allowedTools=Read,Bash(git log:*)", "--disallowedTools=WebFetch", "--append-system-prompt=Be brief."),
    ]


async def test_without_a_result_line_it_failed_and_its_messages_count_once_each(claude):
    outcome, _ = await claude(INIT, message(1), message(1, output_tokens=9), message(2))
    assert (outcome.end, outcome.exit_code) == (AgentEnd.FAILED, 0)
    assert outcome.usage == Usage(6, 200, 40, 16, 0.0, 2)
    assert "(no result line)" in outcome.sentence
    assert "before it told its cost" in outcome.sentence


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("error_max_turns", "stopped at its limit of turns"),
        ("error_max_budget_usd", "stopped at its budget"),
        ("error_during_execution", "failed while it worked"),
        ("error_of_a_later_version", "error_of_a_later_version"),
    ],
)
@pytest.mark.parametrize("is_error", [True, False])
async def test_each_way_to_fail_is_told_in_spite_of_exit_code_0(claude, kind, said, is_error):
    outcome, _ = await claude(INIT, RESULT | {"subtype": kind, "is_error": is_error})
    assert (outcome.end, outcome.exit_code, outcome.usage.cost_usd) == (AgentEnd.FAILED, 0, 0.5)
    assert f"reported an error ({said})" in outcome.sentence


async def test_exit_code_1_after_success_is_a_failure_that_is_paid_for(claude):
    outcome, _ = await claude(INIT, RESULT, code=1)
    assert (outcome.end, outcome.exit_code, outcome.usage.cost_usd) == (AgentEnd.FAILED, 1, 0.5)


async def test_refused_tools_are_named(claude):
    denied = [{"tool_name": "Bash", "tool_input": {"command": "rm"}}, {"tool_name": "Bash"}, {"tool_name": "Write"}, 7]
    outcome, _ = await claude(RESULT | {"permission_denials": denied})
    assert "refused Bash (2), Write: look at the agent's permissions." in outcome.sentence


async def test_a_hang_is_ended_and_what_was_seen_is_accounted(claude):
    outcome, _ = await claude(INIT, message(1), b"", hang=60, idle_timeout_s=0.6)
    assert (outcome.end, outcome.usage.output_tokens) == (AgentEnd.IDLE, 7)


@pytest.mark.parametrize(
    "broken",
    [
        b"no JSON",
        b'{"type": "result", "num_turns": 9',
        b'{"type": "assistant", "message": ' + b"[" * 50_000,
        b'{"type": "assistant", "message": null}',
        b'{"type": "system", "subtype": "init", "model": 7}',
        b'["result"]',
        b'"result"',
        b"\xff\xfe \x00 result",
        b'{"type": ["result"]}',
    ],
)
async def test_a_broken_line_changes_nothing(claude, broken):
    outcome, _ = await claude(INIT, broken, RESULT, broken)
    assert (outcome.end, outcome.usage) == (AgentEnd.FINISHED, Usage(3, 100, 20, 7, 0.5, 2))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1, True, "7", None, 10**400])
async def test_a_message_with_a_number_that_is_none_counts_without_it(claude, number):
    outcome, _ = await claude(message(1, output_tokens=number), message(2))
    assert outcome.usage == Usage(6, 200, 40, 7, 0.0, 2)


def test_a_giant_line_is_passed_over(tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as sink:
        sink.write(b'{"type": "result", "x": "')
        sink.truncate(MAX_LINE_BYTES + 100)
        sink.seek(0, 2)
        sink.write(b'"}\n' + json.dumps(RESULT).encode())
    assert read_stream(log).usage == Usage(3, 100, 20, 7, 0.5, 2)


LINES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["result", "assistant", "system", "init"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "subtype", "message", "usage", "id", "input_tokens", "permission_denials", "tool_name"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.lists(LINES | st.binary(max_size=40), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_nothing_that_is_printed_breaks_the_reading(tmp_path, lines):
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines))
    said = read_stream(log)
    assert isinstance(said, Said)
    assert said.usage.full_input >= 0
