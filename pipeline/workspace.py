"""The role that git plays for Orch: the port which `pipeline.clients.workspace` fills."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.model import Conflict, CoverageRun, Landed, MovedOn, Protected, Pushed, Rebased, Room, TestRun


class Workspace(Protocol):
    """One project's mirror clone and the worktrees of its items. Methods block: call them from a thread."""

    def fetch(self) -> str:
        """Bring the mirror up to date; the default branch's commit. Raises `Unavailable` or `Refused`."""
        ...

    def worktree(self, work_item: str, branch: str) -> Path:
        """The item's worktree on its task branch, made from the remote branch or the default branch as needed.

        An existing worktree is kept as it is. Never a checkout of the default branch.
        """
        ...

    def tip(self, work_item: str) -> str:
        """The commit that the item's worktree stands on."""
        ...

    def remote_tip(self, branch: str) -> str | None:
        """The branch's commit as of the last fetch."""
        ...

    def head(self, commit: str, artifacts: str) -> str:
        """The last commit up to `commit`, above the default branch, that changes anything outside `artifacts`.

        The merge base when no commit of the branch does.
        """
        ...

    def changed_outside(self, artifacts: str, since: str, commit: str) -> tuple[str, ...]:
        """Files outside `artifacts` that commits touch which only one of `since` and `commit` contains, sorted.

        So it tells also of what was taken back again, and of commits that were dropped or rewritten.
        """
        ...

    def restore(self, work_item: str, commit: str) -> None:
        """Put the worktree back to `commit`, unfinished rebases, stray files and all."""
        ...

    def room(self, work_item: str, branch: str, *, home: Path, network: bool) -> Room:
        """What a confined agent in the item's worktree may touch."""
        ...

    def take_commits(self, work_item: str, branch: str) -> None:
        """Take over what a confined agent has committed in its room. Raises `CouldNotRun`. Idempotent."""
        ...

    def lay_agent_files(self, work_item: str, base: str) -> tuple[str, ...]:
        """Have the files that configure agents in the worktree as `base` has them, unseen by git; which were others."""
        ...

    def take_back_agent_files(self, work_item: str, base: str, names: tuple[str, ...]) -> None:
        """Put the branch's own version of these files back, where the agent has not edited them. Idempotent."""
        ...

    def commit_all(self, work_item: str, message: str) -> str:
        """Commit what an agent left uncommitted (nothing when clean); the worktree's commit afterwards."""
        ...

    def read(self, commit: str, path: str) -> str | None:
        """A text file of a commit, None when it is not there."""
        ...

    def files(self, commit: str, folder: str) -> tuple[str, ...]:
        """Paths of the files below `folder` in a commit, sorted."""
        ...

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`."""
        ...

    def rebase(self, work_item: str, onto: str) -> Rebased | Conflict:
        """Put the item's branch on top of `onto`; a conflict leaves the worktree as it was."""
        ...

    def same_change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        """Whether two (base, tip) pairs carry the same change, so that a rebase between them was clean."""
        ...

    def push(self, work_item: str, branch: str, *, expected: str | None) -> Pushed | MovedOn:
        """Push the worktree's commit to the task branch, only if the remote stands at `expected` (None: is absent).

        Refuses the default branch with `Refused`. A remote that is already there counts as pushed.
        """
        ...

    def land(self, commit: str, *, expected: str) -> Landed | MovedOn | Protected:
        """Move the default branch from `expected` to `commit` by an unforced, atomic push; verified afterwards."""
        ...

    def diff(self, commit: str) -> str:
        """What `commit` changes since it left the default branch, as unified diff text for machines."""
        ...

    def revert(self, landed: str, *, since: str, onto: str, message: str) -> str | Conflict:
        """A commit on top of `onto` that takes back what happened from `since` to `landed`; nothing is pushed."""
        ...

    def push_commit(self, commit: str, branch: str) -> Pushed | MovedOn:
        """Push a commit to a task branch that does not exist yet."""
        ...

    def run_coverage(self, commit: str, *, log: Path) -> CoverageRun:
        """Measure the project's coverage in a clean worktree of exactly `commit`.

        Raises `CouldNotRun` when the command cannot be started.
        """
        ...

    def diffstat(self, base: str, commit: str) -> str:
        """`git diff --stat` between two commits."""
        ...

    def run_tests(self, commit: str, *, log: Path) -> TestRun:
        """Run the project's test command in a clean worktree of exactly `commit`.

        Raises `CouldNotRun` when the command cannot be started; a time-out is a red run.
        """
        ...

    def export(self, commit: str, folder: str, into: Path) -> None:
        """Write the regular files below `folder` of a commit into the directory `into`, where they keep their paths."""
        ...

    def remove(self, work_item: str) -> None:
        """Remove the item's worktree and local branch; nothing when there is none."""
        ...

    def worktrees(self) -> Sequence[str]:
        """Keys of the items that have a worktree."""
        ...
