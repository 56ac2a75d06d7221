"""The scripted agent plays every role on a real repository, well or badly, as its scenario says."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import deployments
from deployments.sandbox.agent.scenario import ScenarioError, load
from pipeline.artifacts import FrontMatter, Unreadable, read_front_matter
from pipeline.model import AgentEnd, Answer, Usage
from tests.deployments.sandbox.scripted import CALM, COMMAND, SCENARIOS, Shop, git, green


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


# --- roles


async def test_every_role_leaves_what_its_gate_wants_and_a_clean_worktree(shop):
    item = shop.item("WID-1", "Print receipts", SCENARIOS / "happy.toml")
    gates = {
        "analyst": "analysis_files",
        "architect": "architecture_recorded",
        "developer": None,
        "reviewer": "review_verdict",
    }
    for role, gate in gates.items():
        outcome = await item.run(role)
        assert (role, outcome.end, outcome.question) == (role, AgentEnd.FINISHED, "")
        assert not item.dirty()
        if gate is not None:
            assert (await item.ask(gate)).answer is Answer.PASS
    await item.run("tester")
    report = read_front_matter(item.text("11-test-report.md"))
    assert isinstance(report, FrontMatter)
    assert (report.verdict, report.commit) == ("passed", item.head)


async def test_usage_is_plausible_and_the_same_every_time(shop):
    item = shop.item("WID-1", "Print receipts", SCENARIOS / "happy.toml")
    first, again, other = await item.run("analyst"), await item.run("analyst"), await item.run("analyst", visit=2)
    assert first.usage == again.usage != other.usage
    assert first.usage.output_tokens > 0
    assert first.usage.full_input > first.usage.input_tokens
    assert 0 < first.usage.cost_usd < 1


async def test_each_visit_of_an_analyst_moves_the_branch(shop):
    item = shop.item("WID-1", "Print receipts", SCENARIOS / "happy.toml")
    await item.run("analyst")
    first = item.tip
    await item.run("analyst", visit=2)
    assert item.tip != first


async def test_a_developer_who_is_asked_again_changes_nothing_more(shop):
    item = shop.scripted("")
    await item.run("developer")
    first = item.tip
    assert "FLAT_RATE = 500" in (item.folder / "shop/shipping.py").read_text()
    await item.run("developer", visit=2)
    assert (item.tip, item.dirty()) == (first, False)


def test_only_the_standard_library_is_loaded():
    code = (
        "import sys, deployments.sandbox.agent.__main__\n"
        "print([n for n in sys.modules if n.partition('.')[0] not in {*sys.stdlib_module_names, 'deployments', '__main__'}])"
    )
    # -S leaves the site packages out, with whatever they load at start.
    root = Path(deployments.__file__).parents[1]
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=CALM | {"PYTHONPATH": str(root)})
    assert done.stdout.strip() == "[]"


# --- behaviours


async def test_behaviours_go_by_visit_and_the_last_one_repeats(shop):
    item = shop.scripted('reviewer = ["request_changes", "ok"]')
    await item.run("developer")
    answers = []
    for visit in (1, 2, 3):
        await item.run("reviewer", visit)
        answers.append((await item.ask("review_verdict")).answer)
    assert answers == [Answer.FAIL, Answer.PASS, Answer.PASS]


async def test_a_red_test_is_red_until_the_next_visit(shop):
    item = shop.scripted('developer = ["red_test", "ok"]')
    await item.run("developer")
    assert not green(item.folder)
    await item.run("developer", visit=2)
    assert green(item.folder)


async def test_a_failed_report_is_about_the_head(shop):
    item = shop.scripted('tester = ["fail_report"]')
    await item.run("tester")
    report = read_front_matter(item.text("11-test-report.md"))
    assert isinstance(report, FrontMatter)
    assert (report.verdict, report.commit) == ("failed", item.head)


@pytest.mark.parametrize(
    ("role", "file"),
    [("reviewer", "10-review.md"), ("tester", "11-test-report.md"), ("architect", "06-adr/0001-approach.md")],
)
async def test_garbage_in_the_front_matter_is_unreadable(shop, role, file):
    item = shop.scripted(f'{role} = ["garbage_front_matter"]')
    assert (await item.run(role)).end is AgentEnd.FINISHED
    assert isinstance(read_front_matter(item.text(file)), Unreadable)


async def test_a_verdict_about_a_wrong_commit_is_pending(shop):
    item = shop.scripted('reviewer = ["wrong_commit"]')
    await item.run("reviewer")
    result = await item.ask("review_verdict")
    assert result.answer is Answer.PENDING
    assert "another commit" in result.sentence


async def test_missing_files_are_missing_although_the_run_went_well(shop):
    item = shop.scripted('analyst = ["missing_files"]')
    before = item.tip
    assert (await item.run("analyst")).end is AgentEnd.FINISHED
    assert item.tip == before
    assert (await item.ask("analysis_files")).answer is Answer.FAIL


async def test_uncommitted_work_is_left_in_the_worktree(shop):
    item = shop.scripted('developer = ["uncommitted"]')
    before = item.tip
    outcome = await item.run("developer")
    assert (outcome.end, item.tip, item.dirty()) == (AgentEnd.FINISHED, before, True)


async def test_a_crash_ends_with_code_3_and_half_the_work(shop):
    item = shop.scripted('developer = ["crash"]')
    outcome = await item.run("developer")
    assert (outcome.end, outcome.exit_code, outcome.usage, item.dirty()) == (AgentEnd.FAILED, 3, Usage(), True)
    assert "crashes on purpose" in outcome.sentence


async def test_silence_does_the_work_without_a_word(shop):
    item = shop.scripted('analyst = ["silent"]')
    outcome = await item.run("analyst")
    assert (outcome.end, outcome.usage) == (AgentEnd.FINISHED, Usage())
    assert (item.runs / "WID-1-analyst-1.log").read_text() == ""
    assert (await item.ask("analysis_files")).answer is Answer.PASS


async def test_noise_is_survived_by_the_reader_of_the_log(shop):
    item = shop.scripted('analyst = ["noise"]')
    outcome = await item.run("analyst")
    assert (outcome.end, outcome.question) == (AgentEnd.FINISHED, "")
    assert outcome.usage.output_tokens > 0


async def test_a_hanging_agent_is_idle_in_the_end(shop):
    item = shop.scripted('analyst = ["hang"]', idle_timeout_s=1.0)
    assert (await item.run("analyst")).end is AgentEnd.IDLE


async def test_a_hard_hang_ignores_a_polite_end(shop):
    item = shop.scripted('analyst = ["hang_hard"]')
    environment = CALM | {
        "ORCH_ROLE": "analyst",
        "ORCH_WORK_ITEM": "WID-1",
        "ORCH_TITLE": "Anything",
        "ORCH_VISIT": "1",
        "ORCH_HEAD": item.head,
        "ORCH_BASE": item.base,
        "ORCH_ARTIFACTS": item.artifacts,
    }
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        str(item.scenario),
        cwd=item.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    while b"hangs" not in await process.stdout.readline():
        pass
    process.terminate()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.3)
    process.kill()
    await process.wait()


async def test_a_question_is_asked_until_it_is_answered(shop):
    item = shop.scripted('analyst = [{ does = "question", question = "Which currency?" }]')
    before = item.tip
    assert (await item.run("analyst")).question == "Which currency?"
    assert item.tip == before
    assert (await item.run("analyst", answer="Euros.")).question == ""
    assert (await item.ask("analysis_files")).answer is Answer.PASS


# --- what is wrong is said


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("items = 3", "cannot be read"),
        ("[[items]]\ntitel = 'x'", "unknown keys: titel"),
        ("[[items]]\n[items.behaviours]\nanalyst = ['red_test']", "the analyst cannot do 'red_test'"),
        ("[[items]]\n[items.behaviours]\npainter = ['ok']", "'painter' is no role"),
        ("[[items]]\n[items.behaviours]\nanalyst = []", "'analyst' is no role with a script"),
        ("[[items]]\n[items.behaviours]\ndeveloper = [{ change = 'x' }]", "there is no change 'x'"),
        ("[[items]]\n[items.behaviours]\ndeveloper = [{ sleep = 3 }]", "sleep"),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_reason(tmp_path, scenario, said):
    (tmp_path / "wrong.toml").write_text(scenario)
    with pytest.raises(ScenarioError, match=said):
        load(tmp_path / "wrong.toml")


async def test_an_item_that_the_scenario_does_not_know_is_a_failure_that_says_so(shop):
    item = shop.item("WID-1", "Something else", SCENARIOS / "two-conflicting.toml")
    outcome = await item.run("analyst")
    assert (outcome.end, outcome.exit_code) == (AgentEnd.FAILED, 2)
    assert "no item for the title 'Something else'" in outcome.sentence


async def test_a_conflict_without_a_resolution_leaves_the_branch_as_it_was(shop):
    item = shop.scripted("")
    await item.run("developer")
    before = item.tip
    (shop.main / "shop/shipping.py").write_text("FLAT_RATE = 1\n")
    git(shop.main, "commit", "--quiet", "--all", "--message", "Somebody else")
    outcome = await item.run("developer", visit=2)
    assert outcome.end is AgentEnd.FAILED
    assert "stops at shop/shipping.py: no resolution" in outcome.sentence
    assert (item.tip, item.dirty()) == (before, False)
    assert git(item.folder, "rev-parse", "--abbrev-ref", "HEAD") == "orch/WID-1"
