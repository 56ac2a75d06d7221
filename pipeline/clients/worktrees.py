"""Worktrees of a mirror: one per work item, on its task branch.

An item's git directory is always named to git by its path inside the mirror, never read from the worktree's `.git`
file: an agent can write that file, and with it have git run programs of its choice.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.clients.folders import remove_folder
from pipeline.clients.git import Repository, is_commit, only_one
from pipeline.clients.mirror import Mirror, break_stale
from pipeline.errors import CouldNotRun, Refused
from pipeline.model import Conflict, Rebased, Room

MADE = "orch-branch"
"""File in a worktree's git directory: its task branch. Written last, so its absence means half-made."""
COMMON, IN_MIRROR = "commondir", "../..\n"
"""File in a worktree's git directory that tells git where the configuration lies, and so which programs to run."""
OWN_REFS = "orch-refs"
"""Folder in a worktree's git directory that a confined agent finds in place of the mirror's branches."""
REBASES = ("rebase-merge", "rebase-apply")
UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "AUTO_MERGE", "sequencer", *REBASES)
_ITEM = re.compile(r"[A-Z][A-Z0-9]*-[0-9]+")


def _literal(names: Sequence[str]) -> list[str]:
    """Names as git's pathspecs, in which no character stands for others."""
    return [f":(literal){name}" for name in names]


@dataclass(frozen=True, slots=True)
class Worktrees:
    """All worktrees of one project's items below `folder`. Safe for several processes at once."""

    mirror: Mirror
    folder: Path
    locks: Path

    def make(self, work_item: str, branch: str) -> Path:
        """The item's worktree; made from the remote branch or the default branch when there is none. Idempotent.

        What a killed process left half-done is put right: an unfinished rebase is taken back, stale locks are broken,
        a worktree whose folder is gone is filled again from its local branch.
        """
        with self._item(work_item), self.mirror.exclusive():
            self.mirror.prepare()
            if self._branch(work_item) != branch:
                self._discard(work_item)
                self._add(work_item, branch)
            else:
                self._heal(work_item)
        return self._path(work_item)

    def tip(self, work_item: str) -> str:
        """The commit that the worktree stands on. Raises `CouldNotRun` when there is no worktree."""
        commit = self._repository(work_item).commit_of("HEAD")
        if commit is None:
            raise CouldNotRun(f"The worktree of {work_item} stands on no commit; restore it to one.")
        return commit

    def room(self, work_item: str, branch: str, *, home: Path, network: bool) -> Room:
        """What a confined agent may touch. Make the worktree first, and call `take_commits` when the agent has ended.

        Of the mirror's branches it can write a copy of its own one only, and of the other items' worktrees it sees none.
        """
        git_dir, mirror = self._git_dir(work_item), self.mirror.path
        own = git_dir / OWN_REFS / branch
        remove_folder(git_dir / OWN_REFS)
        own.parent.mkdir(parents=True)
        own.write_text(f"{self.mirror.repository.commit_of(f'refs/heads/{branch}')}\n")
        return Room(
            home,
            writable=(self._path(work_item), git_dir, mirror / "objects"),
            fixed=(git_dir / MADE, git_dir / COMMON),
            readable=(mirror,),
            empty=(mirror / "worktrees",),
            instead=((git_dir / OWN_REFS, mirror / "refs/heads"),),
            network=network,
        )

    def take_commits(self, work_item: str, branch: str) -> None:
        """Move the branch to where a confined agent has put its copy. Idempotent; nothing without such a copy.

        Raises `CouldNotRun` when the copy is no commit any more.
        """
        with self._item(work_item):
            own = self._git_dir(work_item) / OWN_REFS / branch
            if own.is_file() and not own.is_symlink():
                self.mirror.repository.do("update-ref", f"refs/heads/{branch}", self._commit_in(own, work_item))
            remove_folder(self._git_dir(work_item) / OWN_REFS)

    def _commit_in(self, own: Path, work_item: str) -> str:
        with own.open(errors="replace") as copy:
            text = copy.read(100).strip()
        if not is_commit(text):
            raise CouldNotRun(f"The agent of {work_item} left a branch that stands on no commit; it works again.")
        return self.mirror.known(text)

    def lay_agent_files(self, work_item: str, base: str, chosen: Callable[[str], bool]) -> tuple[str, ...]:
        """Have the `chosen` files in the worktree as `base` has them; the names of those that differ on the branch.

        Only the worktree changes, and git is told to pass over it for these files (`--skip-worktree`), so that whoever
        commits everything still commits the branch's own version: what a change does to such files stays in its diff,
        for people to judge. A file that the branch has taken away stays away. Ignored and stray ones are removed.
        """
        with self._item(work_item):
            here = self._repository(work_item)
            for name in filter(chosen, here.ask("ls-files", "--others", "-z").names):
                remove_folder(self._path(work_item) / name)
            changed = here.ask("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", base, "HEAD").names
            names = self._tracked(here, tuple(filter(chosen, changed)))
            if names:
                here.do("restore", f"--source={base}", "--worktree", "--", *_literal(names))
                here.do("update-index", "--skip-worktree", "--", *names)
            return names

    def take_back_agent_files(self, work_item: str, base: str, names: tuple[str, ...]) -> None:
        """Undo `lay_agent_files`, but for files that have been edited since: those are the agent's change. Idempotent."""
        with self._item(work_item):
            here = self._repository(work_item)
            left = self._tracked(here, names)
            if not left:
                return
            here.do("update-index", "--no-skip-worktree", "--", *left)
            edited = here.ask("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", base, "--", *_literal(left))
            if untouched := tuple(name for name in left if name not in edited.names):
                here.do("restore", "--worktree", "--", *_literal(untouched))

    @staticmethod
    def _tracked(here: Repository, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `names` that the index has, and about which nothing is in conflict."""
        if not names:
            return ()
        staged = here.ask("ls-files", "--stage", "-z", "--", *_literal(names)).names
        return tuple(name for entry, _, name in (line.partition("\t") for line in staged) if entry.endswith(" 0"))

    def restore(self, work_item: str, commit: str) -> None:
        """Put branch, index and files to exactly `commit`; ignored and stray files go, too. Idempotent."""
        self.mirror.known(commit)
        with self._item(work_item):
            self._restore(work_item, commit)

    def commit_all(self, work_item: str, message: str) -> str:
        """Commit everything that is not ignored on the task branch; the commit afterwards. Idempotent when clean.

        Raises `CouldNotRun` when an agent left the worktree on commits that do not contain its branch.
        """
        with self._item(work_item):
            self._heal(work_item)
            self._reattach(work_item)
            here = self._repository(work_item)
            here.do("add", "--all")
            if here.ask("diff", "--cached", "--quiet", "--no-ext-diff", ok=(0, 1)).code == 1:
                here.do("commit", "--quiet", "--no-verify", f"--message={message}")
            return self.tip(work_item)

    def rebase(self, work_item: str, onto: str) -> Rebased | Conflict:
        """Put the branch on top of `onto`; nothing is rewritten when it is there already. Idempotent.

        Commits that become empty are dropped. Raises `CouldNotRun` when the worktree has uncommitted changes.
        """
        with self._item(work_item):
            self._heal(work_item)
            before = self.tip(work_item)
            if self.mirror.is_ancestor(onto, before):
                return Rebased(before, onto, moved=False)
            here = self._repository(work_item)
            result = here.do(
                "rebase",
                "--quiet",
                "--empty=drop",
                "--no-fork-point",
                "--no-autosquash",
                "--no-autostash",
                onto,
                ok=(0, 1),
            )
            if result.code == 0:
                return Rebased(self.tip(work_item), onto, moved=True)
            files = here.ask("diff", "--name-only", "--diff-filter=U", "-z", "--no-ext-diff").names
            if not files:
                self._heal(work_item)
                raise CouldNotRun(
                    f"{work_item} could not be rebased: {result.error}. Restore its worktree and try again."
                )
            here.do("rebase", "--abort")
            return Conflict(onto, files)

    def remove(self, work_item: str) -> None:
        """Remove worktree and local branch, uncommitted work included; nothing when there is none. Idempotent."""
        with self._item(work_item), self.mirror.exclusive():
            self._discard(work_item)

    def keys(self) -> tuple[str, ...]:
        """Keys of the items that have a worktree, sorted."""
        found = self.folder.iterdir() if self.folder.exists() else ()
        return tuple(sorted(path.name for path in found if _ITEM.fullmatch(path.name)))

    # --- what is where ---

    def _path(self, work_item: str) -> Path:
        if _ITEM.fullmatch(work_item) is None:
            raise Refused(f"{work_item!r} is not the key of a work item.")
        return self.folder / work_item

    def _git_dir(self, work_item: str) -> Path:
        # Git names it after the worktree's folder, which is unique here and not there yet when the worktree is added.
        return self.mirror.path / "worktrees" / self._path(work_item).name

    def _branch(self, work_item: str) -> str | None:
        made = self._git_dir(work_item) / MADE
        return made.read_text() if made.exists() else None

    def _repository(self, work_item: str) -> Repository:
        if self._branch(work_item) is None or not self._path(work_item).is_dir():
            raise CouldNotRun(f"{work_item} has no worktree in {self.mirror.remote.name}; make it first.")
        return Repository(self.mirror.remote, self._git_dir(work_item), self._path(work_item))

    @contextmanager
    def _item(self, work_item: str) -> Iterator[None]:
        lock = self.locks / f"{self._path(work_item).name}.lock"
        with only_one(lock, patience_s=self.mirror.remote.timeout_s + 120, what=f"The worktree of {work_item}"):
            if self.mirror.path.exists():
                self.mirror.distrust_config()
            self._distrust(work_item)
            yield

    def _distrust(self, work_item: str) -> None:
        """Have git look for its configuration in the mirror, whatever an agent without a sandbox has written."""
        common = self._git_dir(work_item) / COMMON
        if common.parent.is_dir() and (common.is_symlink() or not common.is_file() or common.read_text() != IN_MIRROR):
            remove_folder(common)
            common.write_text(IN_MIRROR)

    # --- making, healing, discarding; the item's lock is held ---

    def _add(self, work_item: str, branch: str) -> None:
        start = self.mirror.remote_tip(branch) or self.mirror.default_tip()
        path = self._path(work_item)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.mirror.repository.do("worktree", "add", "--quiet", "--no-track", "-B", branch, str(path), start)
        (self._git_dir(work_item) / MADE).write_text(branch)

    def _discard(self, work_item: str) -> None:
        """Done by hand and for this item only: `git worktree prune` would judge the other items' worktrees, too."""
        branch = self._branch(work_item)
        remove_folder(self._path(work_item))
        remove_folder(self._git_dir(work_item))
        if branch is not None:
            break_stale((self.mirror.path / "refs/heads" / branch).parent.glob(f"{Path(branch).name}.lock"))
            break_stale(self.mirror.path.glob("packed-refs.lock"))
            self.mirror.repository.do("update-ref", "-d", f"refs/heads/{branch}")

    def _heal(self, work_item: str) -> None:
        """Make the worktree usable without touching its local commits or uncommitted changes."""
        git_dir, path = self._git_dir(work_item), self._path(work_item)
        branch = self._branch(work_item)
        if branch is None:
            return
        break_stale(git_dir.glob("*.lock"))
        break_stale((self.mirror.path / "refs/heads" / branch).parent.glob(f"{Path(branch).name}.lock"))
        emptied = not path.is_dir()
        path.mkdir(parents=True, exist_ok=True)
        self._point_back(path / ".git", git_dir)
        tip = self.mirror.repository.commit_of(f"refs/heads/{branch}")
        if tip is None:
            raise CouldNotRun(f"The branch {branch} of {work_item} is gone; remove its worktree and make it again.")
        if emptied:
            self._restore(work_item, tip)
        elif any((git_dir / name).exists() for name in REBASES):
            self._take_back_rebase(work_item, tip)

    def _take_back_rebase(self, work_item: str, tip: str) -> None:
        """A rebase moves the branch only at its very end, so the branch still is what it was before."""
        if self._repository(work_item).do("rebase", "--abort", ok=(0, 1, 128)).code != 0:
            self._restore(work_item, tip)  # killed too early for git to know what to abort

    @staticmethod
    def _point_back(link: Path, git_dir: Path) -> None:
        """The worktree's `.git` file, for the agent and its tools."""
        wanted = f"gitdir: {git_dir}\n"
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        if link.is_symlink() or not link.exists() or link.read_text(errors="replace") != wanted:
            link.unlink(missing_ok=True)
            link.write_text(wanted)

    def _restore(self, work_item: str, commit: str) -> None:
        git_dir = self._git_dir(work_item)
        here = self._repository(work_item)
        break_stale(git_dir.glob("*.lock"))
        for leftover in (*UNFINISHED, OWN_REFS):
            remove_folder(git_dir / leftover)
        (git_dir / "index").unlink(missing_ok=True)  # it may be torn, and is made anew below
        here.do("symbolic-ref", "HEAD", f"refs/heads/{self._branch(work_item)}")
        here.do("reset", "--quiet", "--hard", commit)
        here.do("clean", "--quiet", "-ffdx")

    def _reattach(self, work_item: str) -> None:
        """Bring an agent's detached or renamed branch home to the task branch, if that loses no commit."""
        own = f"refs/heads/{self._branch(work_item)}"
        here = self._repository(work_item)
        if here.ask("symbolic-ref", "--quiet", "HEAD", ok=(0, 1)).text == own:
            return
        tip, mine = self.tip(work_item), here.commit_of(own)
        if mine is None or not self.mirror.is_ancestor(mine, tip):
            raise CouldNotRun(
                f"The agent left the worktree of {work_item} on {tip[:10]}, which does not contain its branch. "
                "Restore it to the last good commit."
            )
        here.do("update-ref", own, tip)
        here.do("symbolic-ref", "HEAD", own)
