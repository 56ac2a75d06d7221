"""Git in the sandbox's bare repositories, by the real git, without blocking the event loop."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ZERO = "0" * 40
"""The commit that stands for no commit."""

PRE_RECEIVE = """#!/bin/sh
# Guards the default branch as a protected branch of Gitea does. Written anew at every start.
default=refs/heads/$(cat sandbox-default-branch)
zero=0000000000000000000000000000000000000000
while read -r old new ref; do
  [ "$ref" = "$default" ] || continue
  if [ -s sandbox-protection ]; then
    echo "Gitea: Not allowed to push to protected branch ${default#refs/heads/}" >&2
    exit 1
  fi
  [ "$old" = "$zero" ] && continue
  if [ "$new" = "$zero" ]; then
    echo "Gitea: branch ${default#refs/heads/} is protected from deletion" >&2
    exit 1
  fi
  if ! git merge-base --is-ancestor "$old" "$new"; then
    echo "Gitea: branch ${default#refs/heads/} is protected from force push" >&2
    exit 1
  fi
done
"""


class GitError(Exception):
    """A git command failed; the text is what it said."""

    def __init__(self, command: str, code: int, said: str) -> None:
        super().__init__(f"git {command} ended with {code}: {said.strip()}")
        self.code = code
        self.said = said


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with the files it touched, as a push webhook lists them."""

    sha: str
    message: str
    author: tuple[str, str]
    committer: tuple[str, str]
    at: datetime
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of git here: nothing of the user's configuration reaches it."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": tempfile.gettempdir(),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Sandbox",
        "GIT_AUTHOR_EMAIL": "sandbox@example.com",
        "GIT_COMMITTER_NAME": "Sandbox",
        "GIT_COMMITTER_EMAIL": "sandbox@example.com",
    } | dict(extra or {})


async def git(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, ok: tuple[int, ...] = (0,)) -> str:
    """Run git in a folder and return the text that it printed; `GitError` unless it ends with one of `ok`."""
    return (await git_bytes(cwd, *arguments, env=env, ok=ok)).decode(errors="replace")


async def git_bytes(
    cwd: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    ok: tuple[int, ...] = (0,),
    given: bytes = b"",
) -> bytes:
    """Like `git`, with `given` on its standard input, and its output as it is."""
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=cwd,
        env=environment(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    code = process.returncode or 0
    if code not in ok:
        raise GitError(arguments[0], code, (err or out).decode(errors="replace"))
    return out


class BareRepository:
    """One bare repository. `lock` is held by whoever moves its branches."""

    def __init__(self, path: Path, default_branch: str) -> None:
        self.path = path
        self.default_branch = default_branch
        self.lock = asyncio.Lock()

    async def git(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run git in this repository; `GitError` when it fails."""
        return await git(self.path, *arguments, ok=ok)

    async def create(self, files: Path | None) -> None:
        """Make the repository, with `files` (a folder) as the first commit of the default branch."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        await git(self.path.parent, "init", "--bare", "-q", "-b", self.default_branch, self.path.name)
        for setting in ("http.receivepack=true", "core.logAllRefUpdates=always", "gc.auto=0", "gc.reflogExpire=never"):
            await self.git("config", *setting.split("="))
        self.guard("")
        if files is not None:
            with tempfile.TemporaryDirectory(prefix="sandbox-seed-") as folder:
                await self._first_commit(Path(folder) / "tree", files)

    async def _first_commit(self, tree: Path, files: Path) -> None:
        await asyncio.to_thread(shutil.copytree, files, tree, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        (tree / ".gitignore").write_text("__pycache__/\n")
        await git(tree, "init", "-q", "-b", self.default_branch)
        await git(tree, "add", "-A")
        await git(tree, "commit", "-q", "-m", "Initial commit")
        await git(tree, "push", "-q", str(self.path.resolve()), f"HEAD:refs/heads/{self.default_branch}")

    def guard(self, protection: str) -> None:
        """(Re)write the hook that guards the default branch; with `protection` it takes no push at all."""
        hook = self.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(PRE_RECEIVE)
        hook.chmod(0o755)
        (self.path / "sandbox-default-branch").write_text(f"{self.default_branch}\n")
        (self.path / "sandbox-protection").write_text(protection)

    async def refs(self) -> dict[str, str]:
        """Every branch and tag by its full name."""
        out = await self.git("for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ", 1) for line in out.splitlines())

    async def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag or sha stands for."""
        if revision.startswith("-"):
            return None
        out = await self.git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", ok=(0, 1, 128))
        return out.strip() or None

    async def branch(self, name: str) -> str | None:
        """The commit of a branch."""
        return await self.resolve(f"refs/heads/{name}")

    async def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`."""
        try:
            await self.git("merge-base", "--is-ancestor", ancestor, commit)
        except GitError as error:
            if error.code == 1:
                return False
            raise
        return True

    async def merge_base(self, one: str, other: str) -> str:
        """The best common ancestor, empty when there is none."""
        return (await self.git("merge-base", one, other, ok=(0, 1))).strip()

    async def merged_tree(self, base: str, head: str) -> tuple[str | None, str]:
        """The tree that merging gives and what git said; no tree when it conflicts."""
        out = await self.git("merge-tree", "--write-tree", "--messages", base, head, ok=(0, 1))
        tree, _, said = out.partition("\n")
        conflict = "CONFLICT" in said
        return (None if conflict else tree.strip()), said

    async def move(self, branch: str, new: str, old: str, reason: str) -> None:
        """Set a branch from `old` to `new`, or fail with `GitError` when it is not at `old`."""
        await self.git("update-ref", "-m", reason, f"refs/heads/{branch}", new, old)

    async def delete(self, branch: str, old: str) -> None:
        """Remove a branch that is at `old`."""
        await self.git("update-ref", "-d", f"refs/heads/{branch}", old)

    async def commits(self, since: str | None, until: str, *, most: int) -> list[Commit]:
        """Commits of `until` that `since` has not, newest first."""
        span = [until] if since is None else [until, f"^{since}"]
        out = await self.git("log", "-z", f"-{most}", "--format=%H%n%an%n%ae%n%cn%n%ce%n%ct%n%B", *span)
        return [await self._with_files(entry) for entry in out.split("\0") if entry.strip()]

    async def count(self, since: str | None, until: str) -> int:
        """How many commits `until` has that `since` has not."""
        span = [until] if since is None else [until, f"^{since}"]
        return int(await self.git("rev-list", "--count", *span))

    async def _with_files(self, entry: str) -> Commit:
        sha, author, author_mail, committer, committer_mail, seconds, message = entry.split("\n", 6)
        out = await self.git("diff-tree", "--root", "--no-commit-id", "--name-status", "--no-renames", "-r", sha)
        touched: dict[str, list[str]] = {"A": [], "D": [], "M": []}
        for line in out.splitlines():
            kind, _, path = line.partition("\t")
            touched.get(kind[:1], touched["M"]).append(path)
        return Commit(
            sha=sha,
            message=message.rstrip("\n") + "\n",
            author=(author, author_mail),
            committer=(committer, committer_mail),
            at=datetime.fromtimestamp(int(seconds), UTC),
            added=tuple(touched["A"]),
            removed=tuple(touched["D"]),
            modified=tuple(touched["M"]),
        )

    async def commit(self, parent: str, files: Mapping[str, str | None], message: str, who: tuple[str, str]) -> str:
        """A commit on top of `parent` with some files written (None: removed); moves no branch."""
        with tempfile.TemporaryDirectory(prefix="sandbox-index-") as folder:
            env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            await git(self.path, "read-tree", parent, env=env)
            for path, text in files.items():
                if text is None:
                    await git(self.path, "update-index", "--force-remove", "--", path, env=env)
                    continue
                blob = (await git_bytes(self.path, "hash-object", "-w", "--stdin", given=text.encode())).decode()
                await git(self.path, "update-index", "--add", "--cacheinfo", f"100644,{blob.strip()},{path}", env=env)
            tree = (await git(self.path, "write-tree", env=env)).strip()
        name, email = who
        env = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email}
        env |= {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email}
        return (await git(self.path, "commit-tree", tree, "-p", parent, "-m", message, env=env)).strip()

    async def default_tips(self) -> list[str]:
        """Every commit that the default branch ever stood on, oldest first, from git's own log of the branch."""
        log = self.path / "logs" / "refs" / "heads" / self.default_branch
        lines = (await asyncio.to_thread(log.read_text)).splitlines() if log.exists() else []
        return [line.split(" ", 2)[1] for line in lines]
