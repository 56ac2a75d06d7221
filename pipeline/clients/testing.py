"""Runs a project's test command on exactly one commit, in a clean checkout that is thrown away afterwards.

The checkout is a repository of its own that only borrows the mirror's objects: what tests do with git (branches,
configuration, commits) stays in it, and nothing has to be unregistered after a kill.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from pipeline.clients.folders import remove_folder
from pipeline.clients.git import Repository, only_one
from pipeline.clients.mirror import Mirror
from pipeline.clients.process import Ended, ProcessEnd, run_blocking, safe_environment
from pipeline.clients.testing_output import count_tests, sentence
from pipeline.model import TestRun

OWNED = "owned.lock"
LOCK_PATIENCE_S = 120.0
READ_BYTES = 2_000_000
"""How much of a log's end is searched for the test runner's summary."""


@dataclass(frozen=True, slots=True)
class TestRunner:
    """Runs one project's tests in temporary folders below `folder`. Any number at once."""

    __test__ = False

    mirror: Mirror
    folder: Path
    command: tuple[str, ...]
    timeout_s: float

    def run(self, commit: str, *, log: Path) -> TestRun:
        """Run the test command; the exit code is the verdict and taking longer than `timeout_s` is red.

        Raises `CouldNotRun` when the command cannot be started. The log is kept, the checkout is not. A repetition is
        a run of its own and replaces the log.
        """
        self.mirror.known(commit)
        self.sweep()
        with self._private_folder() as folder:
            tree, home = folder / "checkout", folder / "home"
            home.mkdir(mode=0o700)
            self._check_out(tree, commit)
            environment = safe_environment(home)
            ended = run_blocking(self.command, cwd=tree, environment=environment, log=log, timeout_s=self.timeout_s)
        return self._verdict(commit, ended, log)

    def sweep(self) -> None:
        """Remove the folders of runs whose process was killed. Idempotent."""
        with self._one_at_a_time():
            for folder in self.folder.glob("run-*"):
                with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / OWNED, timeout=0):
                    remove_folder(folder)

    @contextmanager
    def _private_folder(self) -> Iterator[Path]:
        """A folder that is ours as long as we live: its lock is freed by the kernel when we are killed."""
        with self._one_at_a_time():
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))
            owned = filelock.FileLock(folder / OWNED)
            owned.acquire()
        try:
            yield folder
        finally:
            with self._one_at_a_time():
                remove_folder(folder)
            owned.release()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """A sweep must see no folder whose lock is not held yet, nor one whose lock file is gone already."""
        with only_one(self.folder / "folders.lock", patience_s=LOCK_PATIENCE_S, what=f"The folder {self.folder}"):
            yield

    def _check_out(self, tree: Path, commit: str) -> None:
        repository = Repository(self.mirror.remote, tree / ".git", tree)
        (tree / ".git").mkdir(parents=True)
        repository.do("init", "--quiet")
        (tree / ".git/objects/info/alternates").write_text(f"{(self.mirror.path / 'objects').resolve()}\n")
        repository.do("update-ref", "--no-deref", "HEAD", commit)
        # Coverage and lint tools compare with the default branch under this name.
        repository.do("update-ref", f"refs/remotes/origin/{self.mirror.default_branch}", self.mirror.default_tip())
        repository.do("reset", "--quiet", "--hard", commit)

    def _verdict(self, commit: str, ended: Ended, log: Path) -> TestRun:
        if ended.reason is not ProcessEnd.FINISHED or ended.exit_code is None:
            said = f"The tests did not finish within {self.timeout_s:g} s"
            return TestRun(commit, False, said, ended.duration_s, log)
        counted = count_tests(_end_of(log))
        failing = counted.failing if counted and ended.exit_code != 0 else ()
        said = sentence(ended.exit_code, counted)
        return TestRun(commit, ended.exit_code == 0, said, ended.duration_s, log, failing)


def _end_of(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - READ_BYTES))
        return stream.read().decode(errors="replace")
