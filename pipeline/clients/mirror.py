"""A project's mirror: a bare repository that holds what the remote had at the last fetch, and all items' branches.

Remote branches are kept as `refs/remotes/origin/*`, so that local branches are task branches only. The mirror's own
configuration file is written here and nowhere else, and put right whenever it differs: an agent without a sandbox, or
a test, can reach it.
"""

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pipeline.clients.git import Remote, Repository, is_commit, only_one, remote_error
from pipeline.errors import CouldNotRun, Missing, Refused, Unavailable
from pipeline.model import Conflict

CONFIG = (
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\tlogAllRefUpdates = false\n"
    "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
)
"""An agent's own git reads this, too: a confined one does not see all branches, and must not tidy up after them."""
STALE_AFTER_S = 2.0
"""Age of a git lock file after which its owner is taken for dead: git holds these for milliseconds."""
WHOLE_FILE = 1_000_000
"""More lines of context than any file has that people review."""
NO_SUCH_REF = "couldn't find remote ref"
PACKET = " packet: "
READABLE = ("100644", "100755")
_ENTRY = re.compile(r"(?P<mode>\d+) \w+ (?P<id>\w+)\t(?P<path>.*)", re.DOTALL)


def break_stale(locks: Iterator[Path]) -> None:
    """Remove git's lock files that a killed process left; a young one gets the time to go away by itself."""
    for lock in locks:
        while _age(lock) < STALE_AFTER_S:
            time.sleep(0.05)
        lock.unlink(missing_ok=True)


def _age(lock: Path) -> float:
    try:
        return time.time() - lock.stat().st_mtime
    except FileNotFoundError:  # released meanwhile
        return STALE_AFTER_S


@dataclass(frozen=True, slots=True)
class Mirror:
    """The mirror of one project at `path`. Reading needs no lock; fetching and registering worktrees do."""

    remote: Remote
    path: Path
    lock: Path
    default_branch: str

    @property
    def repository(self) -> Repository:
        """The mirror for git commands."""
        return Repository(self.remote, self.path)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the mirror against every other process that fetches or adds and removes worktrees."""
        what = f"The mirror of {self.remote.name}"
        return only_one(self.lock, patience_s=self.remote.timeout_s + 60, what=what)

    def prepare(self) -> None:
        """Make the mirror if it is not there and put its configuration right. Call while it is held."""
        if not (self.path / "HEAD").exists():
            self._create()
        self.distrust_config()

    def distrust_config(self) -> None:
        """Put the mirror's configuration right, in one step; needs no lock."""
        config = self.path / "config"
        if not config.exists() or config.read_text(errors="replace") != CONFIG:
            fresh = config.with_name(f"config.{os.getpid()}-{threading.get_ident()}")
            fresh.write_text(CONFIG)
            fresh.replace(config)

    def _create(self) -> None:
        """Made aside and renamed, so that a killed process leaves no half of it.

        Each in a folder of its own: git outlives a process that was killed, and may still write into what that had begun.
        """
        aside, suffix = f"{self.path.name}.", ".new"
        for leftover in (*self.path.parent.glob(f"{aside}*{suffix}"), self.path):
            shutil.rmtree(leftover, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=aside, suffix=suffix, dir=self.path.parent))
        self.remote.home.mkdir(parents=True, exist_ok=True)
        Repository(self.remote, half).do("init", "--quiet", "--bare", f"--initial-branch={self.default_branch}")
        half.rename(self.path)

    def fetch(self) -> str:
        """Bring the mirror up to date and return the default branch's commit. Idempotent.

        An answer without the default branch changes nothing here: git takes a page of some proxy, answered with 200, for
        a repository without branches (2.39, falling back to its dumb protocol), and would forget every branch for it.
        Raises `Unavailable` (`TurnedAway` included), `Refused`, or `Missing` when there is no such repository or default branch.
        """
        with self.exclusive():
            self.prepare()
            break_stale((self.path / "refs/remotes").rglob("*.lock"))
            break_stale(self.path.glob("*.lock"))
            # The URL is given here and kept nowhere: no configuration to leak it from or to change it in.
            result = self.repository.talk(
                "fetch",
                "--quiet",
                "--prune",
                "--no-write-fetch-head",
                self.remote.url,
                "+refs/heads/*:refs/remotes/origin/*",
                f"+refs/heads/{self.default_branch}:refs/remotes/origin/{self.default_branch}",
            )
            if NO_SUCH_REF in result.error and self.default_branch not in self.heads():
                raise self._no_default_branch()
            if result.code != 0:
                raise remote_error(self.remote, result.error)
        return self.default_tip()

    def heads(self) -> dict[str, str]:
        """The remote's branches and their commits, asked now. Raises `Unavailable`, `Refused` or `Missing`.

        `Unavailable`, too, when what answers does not speak git's protocol, of which only the trace tells (git 2.39).
        """
        result = self.repository.talk("ls-remote", "--quiet", "--heads", self.remote.url, trace="GIT_TRACE_PACKET")
        if result.code != 0:
            raise remote_error(self.remote, "\n".join(s for s in result.error.splitlines() if PACKET not in s))
        if PACKET not in result.error:
            raise Unavailable(
                f"What answers for {self.remote.name} does not speak git's protocol. Orch tries again; look at the forge, "
                "and at what stands between."
            )
        lines = (line.partition("\t") for line in result.text.splitlines())
        return {name.removeprefix("refs/heads/"): commit for commit, _, name in lines}

    def _no_default_branch(self) -> Missing:
        return Missing(
            f"{self.remote.name} has no branch {self.default_branch}. "
            "Push a first commit to it, or correct `default_branch` in the project registry."
        )

    def default_tip(self) -> str:
        """The default branch's commit as of the last fetch. Raises `Missing` when the remote has no such branch."""
        tip = self.remote_tip(self.default_branch)
        if tip is None:
            raise self._no_default_branch()
        return tip

    def remote_tip(self, branch: str) -> str | None:
        """The remote branch's commit as of the last fetch."""
        return self.repository.commit_of(f"refs/remotes/origin/{branch}")

    def known(self, commit: str) -> str:
        """`commit` itself. Raises `Refused` when it is no full commit id, `CouldNotRun` when the mirror lacks it."""
        if not is_commit(commit):
            raise Refused(f"{commit!r} is not a full commit id.")
        if self.repository.ask("cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128)).code != 0:
            raise CouldNotRun(f"{self.remote.name} has no commit {commit}; fetch it first.")
        return commit

    def merge_base(self, one: str, other: str) -> str:
        """The commit where two histories part. Raises `Refused` when they never met."""
        base = self.repository.ask("merge-base", self.known(one), self.known(other), ok=(0, 1)).text
        if not base:
            raise Refused(f"{self.remote.name}: {one[:10]} and {other[:10]} share no history; start the branch afresh.")
        return base

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`."""
        pair = (self.known(ancestor), self.known(commit))
        return self.repository.ask("merge-base", "--is-ancestor", *pair, ok=(0, 1)).code == 0

    def head(self, commit: str, artifacts: str) -> str:
        """The newest commit of the branch that changes anything outside `artifacts`; the merge base when none does."""
        default = self.default_tip()
        outside = f":(exclude,literal){artifacts}"
        found = self.repository.ask(
            "rev-list", "--topo-order", "-1", self.known(commit), f"^{default}", "--", outside
        ).text
        return found or self.merge_base(commit, default)

    def changed_outside(self, artifacts: str, since: str, commit: str) -> tuple[str, ...]:
        """Files outside `artifacts` that commits touch which only one of `since` and `commit` contains, sorted.

        The commits are looked at, not only where they lead: one that a later one undoes still moves the head.
        """
        between = f"{self.known(since)}...{self.known(commit)}"
        touched = self.repository.ask(
            *("log", "-z", "--format=", "--name-only", "--no-renames", "--no-ext-diff", "--full-history", "-m"),
            *(between, "--", f":(exclude,literal){artifacts}"),
        )
        return tuple(dict.fromkeys(touched.names))

    def read(self, commit: str, path: str) -> str | None:
        """A regular text file of a commit; None when there is none at `path`, a link or a folder included."""
        if not path or path.startswith("/") or ".." in path.split("/"):
            return None
        listed = self.repository.ask("ls-tree", "-z", "--full-tree", self.known(commit), "--", path).text
        entry = _ENTRY.fullmatch(listed.rstrip("\0"))
        if entry is None or entry["path"] != path or entry["mode"] not in READABLE:
            return None
        return self.repository.ask("cat-file", "blob", entry["id"]).out.decode(errors="replace")

    def files(self, commit: str, folder: str) -> tuple[str, ...]:
        """Paths of the files below `folder` in a commit, sorted."""
        below = [f"{folder.rstrip('/')}/"] if folder.strip("/.") else []
        return self.repository.ask(
            "ls-tree", "-r", "-z", "--name-only", "--full-tree", self.known(commit), "--", *below
        ).names

    def export(self, commit: str, folder: str, into: Path) -> None:
        """Write the regular files below `folder` of a commit into `into`, byte for byte. Idempotent.

        Not `git archive`, which leaves out and rewrites what the branch's own attributes say.
        """
        listed = self.repository.ask("ls-tree", "-r", "-z", "--full-tree", self.known(commit), "--", f"{folder}/")
        for entry in map(_ENTRY.fullmatch, listed.names):
            if entry is None or entry["mode"] not in READABLE or ".." in Path(entry["path"]).parts:
                continue
            file = into / entry["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.repository.ask("cat-file", "blob", entry["id"]).out)

    def diffstat(self, base: str, commit: str) -> str:
        """`git diff --stat` between two commits."""
        pair = (self.known(base), self.known(commit))
        return self.repository.ask(
            "diff", "--stat=120", "--no-color", "--no-ext-diff", "--no-textconv", *pair, "--"
        ).text

    def same_change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        """Whether merging the old change into the new base gives exactly the new tip's files, without a conflict.

        Stricter than comparing patch ids (which pass over binary files) and yet blind to shifted context lines.
        """
        (old_base, old_tip), (new_base, new_tip) = old, new
        if self.merge_base(old_tip, new_base) != old_base or not self.is_ancestor(new_base, new_tip):
            return False
        merged = self.repository.ask("merge-tree", "--write-tree", "--no-messages", old_tip, new_base, ok=(0, 1))
        tree = self.repository.ask("rev-parse", f"{self.known(new_tip)}^{{tree}}").text
        return merged.code == 0 and merged.text == tree

    def diff(self, commit: str) -> str:
        """What `commit` changes since it left the default branch: unified, each changed file as a whole."""
        base = self.merge_base(commit, self.default_tip())
        return self.repository.ask(
            *("-c", "core.quotePath=false", "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative"),
            *("--find-renames", f"--unified={WHOLE_FILE}", "--src-prefix=a/", "--dst-prefix=b/"),
            *("--submodule=short", "--ignore-submodules=none", base, self.known(commit), "--"),
        ).text

    def revert(self, landed: str, *, since: str, onto: str, message: str) -> str | Conflict:
        """A commit on top of `onto`, which contains `landed`, that takes `since`..`landed` back. Touches no branch.

        The state at `since`, put on top of `landed`, is merged with `onto`: what came later stays.
        """
        undone = self._commit(self._tree(since), parent=self.known(landed), message=message)
        merged = self.repository.do(
            *("merge-tree", "--write-tree", "--no-messages", "--name-only", undone, self.known(onto)), ok=(0, 1)
        )
        tree, *files = merged.text.splitlines()
        if merged.code != 0:
            return Conflict(onto, tuple(sorted({name for name in files if name})))
        return self._commit(tree, parent=onto, message=message)

    def _tree(self, commit: str) -> str:
        return self.repository.ask("rev-parse", f"{self.known(commit)}^{{tree}}").text

    def _commit(self, tree: str, *, parent: str, message: str) -> str:
        """The same commit each time: its time is its parent's, so that whoever is killed makes no second one."""
        time = f"{self.repository.ask('show', '--no-patch', '--format=%ct', parent).text} +0000"
        dates = {"GIT_AUTHOR_DATE": time, "GIT_COMMITTER_DATE": time}
        return self.repository.do("commit-tree", "-p", parent, "-m", message, tree, environment=dates).text
