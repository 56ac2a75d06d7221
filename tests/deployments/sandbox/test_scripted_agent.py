"""The scripted agent plays every role on a real repository, and every shipped scenario does what it is called."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import deployments
from deployments.sandbox.agent.scenario import ScenarioError, load
from deployments.sandbox.options import SAMPLE
from pipeline.artifacts import FrontMatter, Unreadable, read_front_matter
from pipeline.clients.agent import CommandAgent
from pipeline.gates import GATES
from pipeline.model import AgentEnd, AgentJob, AgentOutcome, Answer, Usage
from pipeline.prompts import PromptFacts, render
from pipeline.stages import Role

SCENARIOS = Path(deployments.__file__).parent / "sandbox" / "scenarios"
COMMAND = (sys.executable, "-P", "-m", "deployments.sandbox.agent", "--scenario")
CALM = {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}

SMALL = """
[[items]]

[items.changes.feature.files]
"shop/feature.py" = "FEATURE = True\\n"

[[items.changes.feature.replacements]]
path = "shop/shipping.py"
old = "FLAT_RATE = 490"
new = "FLAT_RATE = 500"

[items.behaviours]
"""


def git(folder, *arguments):
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def green(folder):
    command = [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", "."]
    return subprocess.run(command, cwd=folder, env=CALM, check=False, capture_output=True).returncode == 0


@dataclass
class Item:
    """A work item's worktree, and the agent that works in it."""

    key: str
    title: str
    folder: Path
    runs: Path
    scenario: Path
    idle_timeout_s: float = 30.0

    @property
    def artifacts(self):
        return f"docs/work-items/{self.key}"

    @property
    def tip(self):
        return git(self.folder, "rev-parse", "HEAD")

    @property
    def base(self):
        return git(self.folder, "rev-parse", "main")

    @property
    def head(self):
        return git(self.folder, "rev-list", "-1", "HEAD", "--", ".", ":!docs/work-items")

    async def run(self, role, visit=1, answer="") -> AgentOutcome:
        head, base = self.head, self.base
        prompt = PromptFacts(self.key, self.title, "Text.", self.artifacts, head, base, "main", answer=answer)
        environment = CALM | {
            "ORCH_ROLE": role,
            "ORCH_WORK_ITEM": self.key,
            "ORCH_TITLE": self.title,
            "ORCH_VISIT": str(visit),
            "ORCH_HEAD": head,
            "ORCH_BASE": base,
            "ORCH_ARTIFACTS": self.artifacts,
        }
        job = AgentJob(
            role=Role(role),
            work_item=self.key,
            worktree=self.folder,
            prompt=render(Role(role), prompt),
            log=self.runs / f"{self.key}-{role}-{visit}.log",
            timeout_s=30,
            idle_timeout_s=self.idle_timeout_s,
            environment=environment,
        )
        return await CommandAgent((*COMMAND, str(self.scenario))).run(job, started=lambda _: None)

    def text(self, name):
        return (self.folder / self.artifacts / name).read_text()

    def dirty(self):
        return git(self.folder, "status", "--porcelain") != ""

    async def ask(self, gate):
        """The gate's word about the branch as it is."""
        workspace = SimpleNamespace(read=self._read, files=self._files)
        item = SimpleNamespace(key=self.key, artifacts=self.artifacts)
        look = SimpleNamespace(item=item, tip=self.tip, head=self.head, workspace=workspace)
        return await GATES[gate].ask(look)

    def _read(self, commit, path):
        done = subprocess.run(
            ["git", "show", f"{commit}:{path}"], cwd=self.folder, check=False, capture_output=True, text=True
        )
        return done.stdout if done.returncode == 0 else None

    def _files(self, commit, folder):
        return tuple(git(self.folder, "ls-tree", "-r", "--name-only", commit, f"{folder}/").splitlines())


class Shop:
    """The sample repository with `main`, and a worktree for each work item."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "main"
        shutil.copytree(SAMPLE, self.main, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        git(self.main, "init", "--quiet", "--initial-branch=main")
        git(self.main, "add", "--all")
        git(self.main, "commit", "--quiet", "--message", "The shop")

    def item(self, key, title, scenario, **options) -> Item:
        folder = self.folder / key
        git(self.main, "worktree", "add", "--quiet", "-b", f"orch/{key}", str(folder))
        return Item(key, title, folder, self.folder / "runs", scenario, **options)

    def scripted(self, behaviours, **options) -> Item:
        scenario = self.folder / "scenario.toml"
        scenario.write_text(SMALL + behaviours)
        return self.item("WID-1", "Anything", scenario, **options)

    def land(self, item):
        git(self.main, "merge", "--quiet", "--ff-only", item.tip)

    def merged(self, one, other):
        """A worktree with both changes, merged by git alone; raises when git finds a conflict."""
        folder = self.folder / "merged"
        git(self.main, "worktree", "add", "--quiet", "--detach", str(folder), one.tip)
        git(folder, "merge", "--quiet", "--no-edit", other.tip)
        return folder


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
    (item.folder / "tests/test_shipping.py").write_text("")
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


async def test_a_verdict_about_a_wrong_commit_is_red(shop):
    item = shop.scripted('reviewer = ["wrong_commit"]')
    await item.run("reviewer")
    result = await item.ask("review_verdict")
    assert result.answer is Answer.FAIL
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


# --- the shipped scenarios

CONFLICTING = (("WID-1", "Raise the flat rate"), ("WID-2", "Offer express parcels"))
RED_TOGETHER = (("WID-1", "Round half a cent up"), ("WID-2", "Sell things as a bundle"))


def two(shop, scenario, items):
    return [shop.item(key, title, SCENARIOS / scenario) for key, title in items]


async def test_happy_adds_a_feature_with_its_tests(shop):
    item = shop.item("WID-1", "Print receipts", SCENARIOS / "happy.toml")
    assert green(item.folder)
    await item.run("developer")
    changed = git(item.folder, "diff", "--name-only", "main...HEAD").splitlines()
    assert changed == ["README.md", "shop/receipt.py", "tests/test_receipt.py"]
    assert green(item.folder)


@pytest.mark.parametrize("items", [CONFLICTING, CONFLICTING[::-1]])
async def test_the_conflicting_items_are_green_alone_and_the_second_settles_the_conflict(shop, items):
    first, second = two(shop, "two-conflicting.toml", items)
    for item in (first, second):
        await item.run("analyst")
        await item.run("developer")
        assert green(item.folder)
    with pytest.raises(subprocess.CalledProcessError):
        shop.merged(first, second)
    shop.land(first)
    assert (await second.run("developer", visit=2)).end is AgentEnd.FINISHED
    assert git(second.folder, "merge-base", "main", "HEAD") == first.tip
    assert (green(second.folder), second.dirty()) == (True, False)
    tests = {path.name for path in (second.folder / "tests").glob("test_*.py")}
    assert {"test_flat_rate.py", "test_express.py"} <= tests


@pytest.mark.parametrize("items", [CONFLICTING, CONFLICTING[::-1]])
async def test_a_conflicting_item_that_is_built_later_fits_at_once(shop, items):
    first, second = two(shop, "two-conflicting.toml", items)
    await first.run("developer")
    await second.run("analyst")
    shop.land(first)
    assert (await second.run("developer")).end is AgentEnd.FINISHED
    assert green(second.folder)


@pytest.mark.parametrize("items", [RED_TOGETHER, RED_TOGETHER[::-1]])
async def test_the_other_two_merge_cleanly_are_red_together_and_green_after_the_fix(shop, items):
    first, second = two(shop, "green-alone-red-together.toml", items)
    for item in (first, second):
        await item.run("analyst")
        await item.run("developer")
        assert green(item.folder)
    assert not green(shop.merged(first, second))
    shop.land(first)
    assert (await second.run("developer", visit=2)).end is AgentEnd.FINISHED
    assert git(second.folder, "merge-base", "main", "HEAD") == first.tip
    assert (green(second.folder), second.dirty()) == (True, False)
    before = second.tip
    await second.run("developer", visit=3)
    assert second.tip == before


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_scenario_can_be_loaded(path):
    assert load(path)
