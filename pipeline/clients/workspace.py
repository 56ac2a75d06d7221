"""`GitWorkspace`: one project's mirror, its items' worktrees, its landings, its test and coverage runs, by git."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pathspec import GitIgnoreSpec

from pipeline.clients.bubblewrap import Bubblewrap
from pipeline.clients.checkout import Checkouts
from pipeline.clients.coverage import CoverageRunner
from pipeline.clients.git import REMOTE_TIMEOUT_S, Remote
from pipeline.clients.landing import Lander
from pipeline.clients.mirror import Mirror
from pipeline.clients.testing import TestRunner
from pipeline.clients.worktrees import Worktrees
from pipeline.errors import SettingsError
from pipeline.integrity.paths import AGENT_FILES
from pipeline.model import Conflict, CoverageRun, Landed, MovedOn, Protected, Pushed, Rebased, Room, TestRun
from pipeline.projects import Project

UNCONFINED = Bubblewrap()


class GitWorkspace:
    """Fills `pipeline.ports.Workspace` with git 2.38 or later. Every method blocks: call it from a thread.

    Any number of processes and threads may use one `root` at once. What a killed one left half-done is put right by
    the next call. Besides what the port says, every method raises `CouldNotRun` when git itself fails, and `Refused`
    for what is not a full commit id or a work item's key.
    """

    def __init__(
        self,
        project: Project,
        *,
        root: Path,
        url: str,
        credentials: Mapping[str, str],
        home: Path,
        remote_timeout_s: float = REMOTE_TIMEOUT_S,
        sandbox: Bubblewrap = UNCONFINED,
    ) -> None:
        """`credentials` are environment for fetch and push only; `home` is a private folder, HOME of every git process.
        `sandbox` confines the project's commands.

        Nothing is touched yet. Raises `SettingsError` when `url` holds a password.
        """
        if urlsplit(url).password is not None:
            raise SettingsError(f"The clone URL of {project.repository} holds a password; configure a token instead.")
        remote = Remote(project.repository, url, credentials, home, remote_timeout_s)
        locks = root / "locks"
        self._mirror = Mirror(
            remote, root / "repos" / f"{project.key}.git", locks / f"{project.key}.lock", project.default_branch
        )
        self._worktrees = Worktrees(self._mirror, root / "worktrees" / project.key, locks)
        further = GitIgnoreSpec.from_lines(project.agent_files)
        self._configures_agents = lambda path: AGENT_FILES.match_file(path) or further.match_file(path)
        self._lander = Lander(self._mirror)
        checkouts = Checkouts(self._mirror, root / "tests" / project.key, sandbox, project.network)
        self._tests = TestRunner(checkouts, project.test_command, project.test_timeout_s, project.junit_xml)
        self._coverage = CoverageRunner(
            checkouts, project.coverage_command, project.coverage_xml, project.test_timeout_s
        )

    def fetch(self) -> str:
        """Bring the mirror up to date, made if need be; the default branch's commit."""
        return self._mirror.fetch()

    def worktree(self, work_item: str, branch: str) -> Path:
        """The item's worktree on its task branch. Fetch before: it starts from what the last fetch brought.

        An existing one is kept, also when the remote branch has moved on: compare `tip` and `remote_tip`.
        """
        return self._worktrees.make(work_item, branch)

    def tip(self, work_item: str) -> str:
        """The commit that the item's worktree stands on."""
        return self._worktrees.tip(work_item)

    def remote_tip(self, branch: str) -> str | None:
        """The branch's commit as of the last fetch, or of our own push since."""
        return self._mirror.remote_tip(branch)

    def head(self, commit: str, artifacts: str) -> str:
        """The last commit of the branch that changes anything outside `artifacts`; the merge base when none does."""
        return self._mirror.head(commit, artifacts)

    def room(self, work_item: str, branch: str, *, home: Path, network: bool) -> Room:
        """What an agent in the item's worktree may touch: that, what git needs to commit there, and its home."""
        return self._worktrees.room(work_item, branch, home=home, network=network)

    def take_commits(self, work_item: str, branch: str) -> None:
        """Move the local branch to where a confined agent has put its own copy of it. Idempotent."""
        self._worktrees.take_commits(work_item, branch)

    def lay_agent_files(self, work_item: str, base: str) -> tuple[str, ...]:
        """Have the files that configure agents in the worktree as `base` has them, unseen by git; which were others."""
        return self._worktrees.lay_agent_files(work_item, base, self._configures_agents)

    def take_back_agent_files(self, work_item: str, base: str, names: tuple[str, ...]) -> None:
        """Put the branch's own version of these files back, where the agent has not edited them meanwhile."""
        self._worktrees.take_back_agent_files(work_item, base, names)

    def changed_outside(self, artifacts: str, since: str, commit: str) -> tuple[str, ...]:
        """Files outside `artifacts` that commits touch which only one of `since` and `commit` contains, sorted."""
        return self._mirror.changed_outside(artifacts, since, commit)

    def restore(self, work_item: str, commit: str) -> None:
        """Put the worktree to exactly `commit`; ignored files go, too."""
        self._worktrees.restore(work_item, commit)

    def commit_all(self, work_item: str, message: str) -> str:
        """Commit what an agent left uncommitted, on the task branch; the commit afterwards."""
        return self._worktrees.commit_all(work_item, message)

    def read(self, commit: str, path: str) -> str | None:
        """A regular text file of a commit, None when it is not there."""
        return self._mirror.read(commit, path)

    def files(self, commit: str, folder: str) -> tuple[str, ...]:
        """Paths of the files below `folder` in a commit, sorted."""
        return self._mirror.files(commit, folder)

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`."""
        return self._mirror.is_ancestor(ancestor, commit)

    def rebase(self, work_item: str, onto: str) -> Rebased | Conflict:
        """Put the item's branch on top of `onto`; a conflict leaves the worktree as it was."""
        return self._worktrees.rebase(work_item, onto)

    def same_change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        """Whether two (base, tip) pairs carry the same change, so that a rebase between them was clean."""
        return self._mirror.same_change(old, new)

    def push(self, work_item: str, branch: str, *, expected: str | None) -> Pushed | MovedOn:
        """Push the worktree's commit to the task branch, only if the remote stands at `expected`."""
        return self._lander.push(self._worktrees.tip(work_item), branch, expected=expected)

    def land(self, commit: str, *, expected: str) -> Landed | MovedOn | Protected:
        """Move the default branch from `expected` to `commit` by an unforced push; verified afterwards."""
        return self._lander.land(commit, expected=expected)

    def diff(self, commit: str) -> str:
        """What `commit` changes since it left the default branch, as unified diff text."""
        return self._mirror.diff(commit)

    def revert(self, landed: str, *, since: str, onto: str, message: str) -> str | Conflict:
        """A commit on top of `onto` that takes back what happened from `since` to `landed`; nothing is pushed."""
        return self._mirror.revert(landed, since=since, onto=onto, message=message)

    def push_commit(self, commit: str, branch: str) -> Pushed | MovedOn:
        """Push a commit to a task branch that does not exist yet."""
        return self._lander.push(commit, branch, expected=None)

    def export(self, commit: str, folder: str, into: Path) -> None:
        """Write the regular files below `folder` of a commit into the directory `into`, where they keep their paths."""
        self._mirror.export(commit, folder, into)

    def diffstat(self, base: str, commit: str) -> str:
        """`git diff --stat` between two commits."""
        return self._mirror.diffstat(base, commit)

    def run_tests(self, commit: str, *, log: Path) -> TestRun:
        """Run the project's test command on exactly `commit`, in a clean checkout; a time-out is red."""
        return self._tests.run(commit, log=log)

    def run_coverage(self, commit: str, *, log: Path) -> CoverageRun:
        """Run the project's coverage command on exactly `commit`, in a clean checkout; takes no longer than its tests.

        Raises `CouldNotRun` when it cannot be started, or the project has none.
        """
        return self._coverage.run(commit, log=log)

    def remove(self, work_item: str) -> None:
        """Remove the item's worktree and local branch, uncommitted work included."""
        self._worktrees.remove(work_item)

    def worktrees(self) -> Sequence[str]:
        """Keys of the items that have a worktree."""
        return self._worktrees.keys()
