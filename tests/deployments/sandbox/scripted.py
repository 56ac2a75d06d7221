"""The sample repository, work items on it, and the scripted agent that works on them."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import deployments
from deployments.sandbox.options import SAMPLE
from pipeline.clients.agent import CommandAgent
from pipeline.gates import GATES
from pipeline.model import AgentJob, AgentOutcome
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
