"""A small CI: runs a repository's test command on each pushed commit and posts commit statuses."""

import asyncio
import contextlib
import os
import signal
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployments.sandbox.core import Core
from deployments.sandbox.git import GitError
from deployments.sandbox.gitea import Gitea
from deployments.sandbox.gitea_state import Repository

CONTEXT = "ci/tests"
LOGIN = "ci"


@dataclass(frozen=True, slots=True)
class Job:
    """One commit to test."""

    repository: Repository
    sha: str


class Ci:
    """Tests pushed commits in the order they came; `mode` can hold it or switch it off."""

    def __init__(self, core: Core, gitea: Gitea) -> None:
        self._core = core
        self._gitea = gitea
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._running = asyncio.Event()
        gitea.branch_moved.append(self._pushed)

    def start(self) -> None:
        """Begin to work, first on what a stopped sandbox left pending."""
        self.set_mode(self._gitea.world.ci_mode)
        for repository in self._gitea.world.repositories:
            latest = {one.sha: one.state for one in repository.statuses if one.context == CONTEXT}
            for sha, state in latest.items():
                if state == "pending":
                    self._queue.put_nowait(Job(repository, sha))
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._core.options.ci_jobs)]

    def set_mode(self, mode: str) -> None:
        """`run`; `hold`: statuses stay pending until it runs again; `off`: no status is posted."""
        self._gitea.world.ci_mode = mode
        if mode == "hold":
            self._running.clear()
        else:
            self._running.set()
        self._core.changed()

    async def close(self) -> None:
        """Stop; a test that runs is killed and its status stays pending until the next start."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _pushed(self, repository: Repository, _branch: str, new: str | None, _login: str) -> None:
        if new is None or self._gitea.world.ci_mode == "off":
            return
        await self._post(repository, new, "pending", "The tests are running.")
        self._queue.put_nowait(Job(repository, new))

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            await self._running.wait()
            try:
                green = await self._result(job)
            except (OSError, tarfile.TarError, GitError) as error:
                await self._post(job.repository, job.sha, "error", f"The tests could not be started: {error}")
                continue
            state, text = ("success", "The tests passed.") if green else ("failure", "The tests failed.")
            await self._post(job.repository, job.sha, state, text)

    async def _post(self, repository: Repository, sha: str, state: str, text: str) -> None:
        await self._gitea.post_status(repository, sha, state=state, context=CONTEXT, login=LOGIN, description=text)

    async def _result(self, job: Job) -> bool:
        """Whether the tests of this commit pass; a tree that was tested before is not tested again."""
        tree = (await self._gitea.bare(job.repository).git("rev-parse", f"{job.sha}^{{tree}}")).strip()
        known = job.repository.ci_results
        if tree not in known:
            known[tree] = await self._test(job)
            self._core.changed()
        return known[tree]

    async def _test(self, job: Job) -> bool:
        with tempfile.TemporaryDirectory(prefix="sandbox-ci-") as folder:
            checkout = Path(folder) / "checkout"
            archive = Path(folder) / "commit.tar"
            await self._gitea.bare(job.repository).git("archive", f"--output={archive}", job.sha)
            await asyncio.to_thread(_unpack, archive, checkout)
            return await _run(job.repository.test_command, checkout, self._core.options.test_timeout_s)


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


async def _run(command: list[str], folder: Path, patience: float) -> bool:
    """Whether a command succeeds within `patience` seconds; its whole process group is ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return await asyncio.wait_for(process.wait(), patience) == 0
    except TimeoutError:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
