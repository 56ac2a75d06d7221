"""Looks at real git repositories: what gates are given, without the rest of Orch."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.gates.look import Look
from pipeline.model import (
    Baseline,
    CiState,
    CiStatus,
    CoverageRun,
    Hook,
    HookEnd,
    HookRun,
    Probed,
    Stand,
    TestRun,
    WorkItem,
)
from pipeline.projects import Project
from pipeline.stages import Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ARTIFACTS = "docs/work-items/WID-12"


class Repository:
    """A repository on disk that gates can read as their workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        for path, text in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(text.encode())
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "work")
        return self.git("rev-parse", "HEAD")

    def read(self, commit: str, path: str) -> str | None:
        shown = subprocess.run(
            ["git", "show", f"{commit}:{path}"], cwd=self.folder, check=False, capture_output=True, text=True
        )
        return shown.stdout if shown.returncode == 0 else None

    def files(self, commit: str, folder: str) -> tuple[str, ...]:
        return tuple(sorted(self.git("ls-tree", "-r", "--name-only", commit, f"{folder}/").splitlines()))


class Ci:
    """The part of a forge that gates ask."""

    def __init__(self) -> None:
        self.said: dict[str, CiStatus] = {}
        self.error: Exception | None = None

    async def combined_status(self, project: Project, commit: str) -> CiStatus:
        if self.error is not None:
            raise self.error
        return self.said.get(commit, CiStatus(CiState.NONE))


class Tests:
    """Orch's own test runs, by commit."""

    __test__ = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: tuple[str, ...] = ()
        self.error: Exception | None = None

    async def __call__(self, commit: str) -> TestRun:
        self.asked.append(commit)
        if self.error is not None:
            raise self.error
        sentence = f"2 of 9 tests fail: {', '.join(self.failing)}." if self.failing else "9 tests pass."
        return TestRun(commit, not self.failing, sentence, 1.0, Path("log"), self.failing)


class Stands:
    """What is on record about staging and production, and what a look or a check says now."""

    def __init__(self) -> None:
        self.measured: CoverageRun | None = None
        self.reached: Baseline | None = None
        self.ran: dict[Hook, HookRun] = {}
        self.checked = hook_run(HookEnd.DONE)
        self.seen: dict[Stand, Probed] = {}

    async def coverage(self, commit: str) -> CoverageRun | None:
        return self.measured if self.measured and self.measured.commit == commit else None

    async def baseline(self) -> Baseline | None:
        return self.reached

    async def hook(self, hook: Hook, commit: str) -> HookRun | None:
        return self.ran.get(hook)

    async def check(self, commit: str) -> HookRun:
        return self.checked

    async def probe(self, stand: Stand, commit: str, *, within_s: float = 0) -> Probed:
        return self.seen[stand]


def hook_run(end: HookEnd, sentence: str = "exit code 0") -> HookRun:
    """A run of a hook."""
    return HookRun(end, 0 if end is HookEnd.DONE else 1, sentence, 1.0, "output", Path("log"))


@pytest.fixture
def stands():
    return Stands()


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


@pytest.fixture
def ci():
    return Ci()


@pytest.fixture
def tests():
    return Tests()


@pytest.fixture
def project():
    return Project(key="WID", plane_project=UUID(int=1), repository="acme/shop", test_command=("true",))


@pytest.fixture
def item():
    return WorkItem(
        id=1,
        key="WID-12",
        project="WID",
        tracker_id="t",
        title="A title",
        branch="orch/wid-12",
        stage=Stage.REVIEW,
        version=1,
        attempts={},
        visits={},
        created_at=NOW,
        entered_at=NOW,
    )


@pytest.fixture
def look(repository, ci, tests, stands, project, item):
    """A look at a branch with one commit of code: tip and head are the same."""
    tip = repository.commit({"shop/pricing.py": "PRICE = 1\n"})
    return Look(
        item=item,
        project=project,
        tip=tip,
        head=tip,
        workspace=repository,
        forge=ci,
        decisions=(),
        stands=stands,
        test=tests,
    )


@pytest.fixture
def with_artifacts(look, repository):
    """The same look after artifacts were committed: the tip moves, the head does not. `HEAD` stands for the head."""

    def commit(files: dict[str, str]) -> Look:
        texts = {f"{ARTIFACTS}/{name}": text.replace("HEAD", look.head) for name, text in files.items()}
        return replace(look, tip=repository.commit(texts))

    return commit
