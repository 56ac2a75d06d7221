"""The repository of the made-up world, and what chance there is in it.

Before everything that somebody else can see or disturb the process that asks has to wait until it is told to go on, so
that it can die there, or be overtaken.
"""

import random
from pathlib import Path
from typing import Protocol

from pipeline.errors import Unavailable
from pipeline.model import Conflict, Landed, MovedOn, Pushed, Rebased, TestRun
from tests.support.machine.actors import pause

REPORT = ":report of the "
"""In the name of a change to an item's artifacts, which nobody has to review."""

WEAKENS_TESTS = """diff --git a/.github/workflows/ci.yml b/.github/workflows/ci.yml
--- a/.github/workflows/ci.yml
+++ b/.github/workflows/ci.yml
@@ -1 +1 @@
-run: all
+run: none
"""
"""A change that the integrity gate asks a person about."""


class Chance:
    """What nobody knows before. `calm`: everything is well from now on; `away`: the forge does not answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  a story has to be told again as it was
        self.calm = self.away = False

    def one_in(self, number: int) -> bool:
        """Whether something happens that happens once in so many times, and never when all is calm."""
        return not self.calm and self._random.randrange(number) == 0


class Witness(Protocol):
    """Who looks on when something is done that cannot be undone."""

    def at_work(self, key: str, what: str) -> None:
        """The process that runs just now is about to do something about an item."""

    def lands(self, commit: str) -> None:
        """The default branch is about to be moved to this commit."""

    def deploys(self, key: str, commit: str, *, back: bool) -> None:
        """This commit is about to serve production, or to serve it again."""


class Repository:
    """The default branch, the task branches, and what this machine knows of them and has in its worktrees.

    A commit is a name with its parents and the set of changes that it contains; a change is named for its item.
    """

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.witness: Witness | None = None
        self.trees: dict[str, frozenset[str]] = {"c0": frozenset()}
        self.parents: dict[str, tuple[str, ...]] = {"c0": ()}
        self.main = self.mirror = "c0"
        self.branches: dict[str, str] = {}
        self.mirrored: dict[str, str] = {}
        self.worktrees: dict[str, str] = {}
        self.unsaved: dict[str, set[str]] = {}
        self.landed: list[str] = []
        self.green: set[str] = set()
        self.reviewed: set[str] = set()
        self.reverts: dict[str, str] = {}
        self.weakening: dict[str, bool] = {}

    def commit(self, parents: tuple[str, ...], *changes: str) -> str:
        tree = frozenset().union(*(self.trees[p] for p in parents), changes)
        return self.commit_of(tree, parents)

    def commit_of(self, tree: frozenset[str], parents: tuple[str, ...]) -> str:
        name = f"c{len(self.trees)}"
        self.parents[name], self.trees[name] = parents, tree
        return name

    def contains(self, commit: str, other: str) -> bool:
        return commit == other or any(self.contains(parent, other) for parent in self.parents[commit])

    def changes(self, commit: str, key: str) -> frozenset[str]:
        """What a commit contains of an item's."""
        return frozenset(change for change in self.trees[commit] if change.startswith(f"{key}:"))

    def move_main(self, commit: str) -> None:
        """What the forge does, for Orch."""
        if self.witness is not None:
            self.witness.lands(commit)
        self.main = commit
        self.landed.append(commit)


class MadeUpWorkspace:
    """Fills `pipeline.workspace.Workspace` for a repository, as far as the flows go."""

    def __init__(self, repository: Repository) -> None:
        self.of = repository

    def fetch(self) -> str:
        pause("git: fetch")
        if self.of.chance.away:
            raise Unavailable("The forge does not answer.")
        self.of.mirror, self.of.mirrored = self.of.main, dict(self.of.branches)
        return self.of.mirror

    def worktree(self, work_item: str, branch: str) -> Path:
        self.of.worktrees.setdefault(work_item, self.of.mirrored.get(branch, self.of.mirror))
        return Path(work_item)

    def worktrees(self) -> list[str]:
        return list(self.of.worktrees)

    def tip(self, work_item: str) -> str:
        return self.of.worktrees[work_item]

    def remote_tip(self, branch: str) -> str | None:
        return self.of.mirrored.get(branch)

    def head(self, commit: str, artifacts: str) -> str:
        return commit

    def changed_outside(self, artifacts: str, since: str, commit: str) -> tuple[str, ...]:
        return tuple(sorted(c for c in self.of.trees[since] ^ self.of.trees[commit] if REPORT not in c))

    def restore(self, work_item: str, commit: str) -> None:
        self.of.worktrees[work_item] = commit
        self.of.unsaved.pop(work_item, None)

    def commit_all(self, work_item: str, message: str) -> str:
        if changes := self.of.unsaved.pop(work_item, None):
            self.of.worktrees[work_item] = self.of.commit((self.of.worktrees[work_item],), *changes)
        return self.of.worktrees[work_item]

    def lay_agent_files(self, work_item: str, base: str) -> tuple[str, ...]:
        return ()

    def take_back_agent_files(self, work_item: str, base: str, names: tuple[str, ...]) -> None:
        """Nothing was laid."""

    def read(self, commit: str, path: str) -> str | None:
        return None

    def diff(self, commit: str) -> str:
        if commit not in self.of.weakening:
            self.of.weakening[commit] = self.of.chance.one_in(4)
        return WEAKENS_TESTS if self.of.weakening[commit] else ""

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        return commit in self.of.trees and self.of.contains(commit, ancestor)

    def diffstat(self, base: str, commit: str) -> str:
        return "" if self.of.trees[base] == self.of.trees[commit] else "they differ"

    def same_change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        return self._change(old) == self._change(new)

    def _change(self, pair: tuple[str, str]) -> frozenset[str]:
        return self.of.trees[pair[1]] - self.of.trees[pair[0]]

    def rebase(self, work_item: str, onto: str) -> Rebased | Conflict:
        tip = self.of.worktrees[work_item]
        if self.of.chance.one_in(12):
            return Conflict(onto, ("price.py",))
        if moved := not self.of.contains(tip, onto):
            self.of.worktrees[work_item] = self.of.commit((onto,), *(self.of.trees[tip] - self.of.trees[onto]))
        return Rebased(self.of.worktrees[work_item], onto, moved)

    def push(self, work_item: str, branch: str, *, expected: str | None) -> Pushed | MovedOn:
        return self._pushed(self.of.worktrees[work_item], branch, expected)

    def push_commit(self, commit: str, branch: str) -> Pushed | MovedOn:
        return self._pushed(commit, branch, None)

    def _pushed(self, commit: str, branch: str, expected: str | None) -> Pushed | MovedOn:
        pause("git: push")
        there = self.of.branches.get(branch)
        if there not in (expected, commit):
            return MovedOn(there)
        self.of.branches[branch] = self.of.mirrored[branch] = commit
        return Pushed(commit)

    def land(self, commit: str, *, expected: str) -> Landed | MovedOn:
        """Forward, or not at all: whatever was expected, the forge refuses a push that is not forced."""
        pause("git: land")
        if not self.of.contains(commit, self.of.main):
            return MovedOn(self.of.main)
        self.of.move_main(commit)
        return Landed(commit)

    def revert(self, landed: str, *, since: str, onto: str, message: str) -> str | Conflict:
        if self.of.chance.one_in(4):
            return Conflict(onto, ("price.py",))
        made = self.of.commit_of(self.of.trees[onto] - self._change((since, landed)), (onto,))
        self.of.reverts[made] = landed
        return made

    def run_tests(self, commit: str, *, log: Path) -> TestRun:
        pause("tests")
        passed = not self.of.chance.one_in(6)
        if passed and log.name.startswith(("tests-merge-", "tests-revert-")):
            self.of.green.add(commit)
        return TestRun(commit, passed, "tests", 1.0, log)

    def export(self, commit: str, folder: str, into: Path) -> None:
        """Nobody reads the archive here."""

    def remove(self, work_item: str) -> None:
        self.of.worktrees.pop(work_item, None)
        self.of.unsaved.pop(work_item, None)
