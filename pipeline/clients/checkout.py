"""Clean checkouts of exactly one commit, each in a private folder that is thrown away afterwards.

A checkout is a repository of its own that fetches from the mirror: git computes the ids of what it receives, so whoever
could write to the mirror's objects cannot have a commit stand for other files than its own. What commands do with git
(branches, configuration, commits) stays in it, and nothing has to be unregistered after a kill.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from pipeline.clients.bubblewrap import Bubblewrap
from pipeline.clients.folders import remove_folder
from pipeline.clients.git import Repository, only_one
from pipeline.clients.mirror import Mirror
from pipeline.clients.process import Ended, run_blocking, safe_environment
from pipeline.errors import CouldNotRun
from pipeline.model import Room

OWNED = "owned.lock"
LOCK_PATIENCE_S = 120.0


class UnreadableFile(Exception):
    """A file that a command should have written is missing or unfit; the text says which and why, as half a sentence."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of one commit at `tree` (a path without links), and an empty `home` for commands that run there.

    They are confined by `sandbox` to these two, and see nothing of the rest of Orch.
    """

    tree: Path
    home: Path
    sandbox: Bubblewrap
    network: bool

    def run(self, command: tuple[str, ...], *, log: Path, timeout_s: float) -> Ended:
        """Run a command here, with the allow-listed environment. Raises `CouldNotRun` when it cannot be started."""
        room = Room(self.home, writable=(self.tree,), network=self.network)
        return run_blocking(
            command,
            cwd=self.tree,
            environment=safe_environment(self.home),
            log=log,
            timeout_s=timeout_s,
            walls=self.sandbox.walls(command, room, cwd=self.tree),
        )

    def forget(self, name: str) -> None:
        """Remove the file `name`, so that what stands there later was written by a command. Stays inside the tree."""
        folder = _real((self.tree / name).parent)
        file = folder / Path(name).name
        if folder.is_relative_to(self.tree) and (file.is_symlink() or file.is_file()):
            file.unlink()

    def read(self, name: str, *, limit: int) -> bytes:
        """The file `name`, `limit` bytes at most. Raises `UnreadableFile`; nothing outside the tree is ever read."""
        file = _real(self.tree / name)
        if not file.is_relative_to(self.tree):
            raise UnreadableFile(f"{name} lies outside the checkout")
        try:
            with open(file, "rb", opener=_without_waiting) as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise UnreadableFile(f"{name} is no regular file")
                content = stream.read(limit + 1)
        except OSError as error:
            raise UnreadableFile(f"{name}: {error.strerror}") from error
        if len(content) > limit:
            raise UnreadableFile(f"{name} is larger than {limit // 1_000_000} MB")
        return content


@dataclass(frozen=True, slots=True)
class Checkouts:
    """Makes checkouts in temporary folders below `folder`. Any number at once. With `network` commands have it."""

    mirror: Mirror
    folder: Path
    sandbox: Bubblewrap
    network: bool

    @contextmanager
    def of(self, commit: str) -> Iterator[Checkout]:
        """A checkout of exactly `commit`, removed at the end.

        Its history goes back to where it left the default branch. Raises `CouldNotRun` when git fails, or when the
        mirror does not hold what the commit's id stands for.
        """
        self.mirror.known(commit)
        self.sweep()
        with self._private_folder() as folder:
            tree, home = folder.resolve() / "checkout", folder / "home"
            home.mkdir(mode=0o700)
            self._check_out(tree, commit)
            yield Checkout(tree, home, self.sandbox, self.network)

    def sweep(self) -> None:
        """Remove the folders of checkouts whose process was killed. Idempotent."""
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
        default = self.mirror.default_tip()
        self._receive(repository, commit, default)
        repository.do("update-ref", "--no-deref", "HEAD", commit)
        # Coverage and lint tools compare with the default branch under this name.
        repository.do("update-ref", f"refs/remotes/origin/{self.mirror.default_branch}", default)
        repository.do("reset", "--quiet", "--hard", commit)

    def _receive(self, repository: Repository, commit: str, default: str) -> None:
        """Fetch both commits, and their histories down to where they parted."""
        parted = self.mirror.repository.ask("rev-list", "--count", f"{commit}...{default}").text
        received = repository.do(
            *("-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
            *(f"--depth={int(parted) + 1}", str(self.mirror.path.resolve()), commit, default),
            ok=(0, 1, 128),
        )
        if received.code != 0:
            raise CouldNotRun(
                f"The clone {self.mirror.path} does not hold what {commit} stands for, so nothing is run on it "
                f"({received.error}). Look who has written to it, delete it (it is made anew), then `orch retry`."
            )


def _real(path: Path) -> Path:
    """`path` without links; other than `Path.resolve` it does not mind links that lead to each other."""
    return Path(os.path.realpath(path))


def _without_waiting(path: str, flags: int) -> int:
    """Open for reading; a pipe of this name, which nobody may ever write to, holds nothing up."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
