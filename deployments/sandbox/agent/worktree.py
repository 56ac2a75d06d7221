"""What the scripted agent does with git in the current directory."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deployments.sandbox.agent.scenario import Change, Replacement, ScenarioError

MAX_CONFLICTS = 50
IDENTITY = {
    "GIT_AUTHOR_NAME": "Scripted agent",
    "GIT_AUTHOR_EMAIL": "agent@sandbox.invalid",
    "GIT_COMMITTER_NAME": "Scripted agent",
    "GIT_COMMITTER_EMAIL": "agent@sandbox.invalid",
}
SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.editor=true")


def write(path: str, text: str) -> None:
    """Write a file of the worktree, with the folders that it needs. Never outside of it."""
    target = Path(path)
    if target.is_absolute() or ".." in target.parts:
        raise ScenarioError(f"{path} is not a path inside the worktree.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def remove(path: str) -> None:
    """Remove a file of the worktree; nothing when it is not there."""
    Path(path).unlink(missing_ok=True)


def make(change: Change, resolution: Mapping[str, str]) -> None:
    """Make a change in the files. Making it again changes nothing.

    Where another item has changed the text that is to be replaced, the file becomes its `resolution`.
    """
    for path, text in change.files.items():
        write(path, text)
    for replacement in change.replacements:
        _replace(replacement, resolution)


def _replace(wanted: Replacement, resolution: Mapping[str, str]) -> None:
    path = Path(wanted.path)
    if not path.is_file():
        if wanted.optional:
            return
        raise ScenarioError(f"{wanted.path} is to be changed but is not there.")
    text = path.read_text(encoding="utf-8")
    if wanted.new in text:
        return
    if wanted.old in text:
        write(wanted.path, text.replace(wanted.old, wanted.new, 1))
    elif wanted.path in resolution:
        write(wanted.path, resolution[wanted.path])
    else:
        raise ScenarioError(f"{wanted.path} has no text {wanted.old!r} to replace, and the scenario has no resolution.")


def commit(message: str) -> bool:
    """Commit everything; False when there was nothing to commit."""
    _git("add", "--all")
    if not _git("status", "--porcelain"):
        return False
    _git("commit", "--quiet", "--message", message)
    return True


def committed(message: str, base: str) -> bool:
    """Whether a commit above `base` carries this message."""
    return message in _git("log", "--format=%s", f"{base}..HEAD").splitlines()


def rebase(base: str, resolution: Mapping[str, str]) -> bool:
    """Put the branch on top of `base`, settling conflicts with `resolution`; False when it stands there already.

    Raises `ScenarioError`, with the branch as it was, for a conflict in a file that has no resolution.
    """
    if _succeeds("merge-base", "--is-ancestor", base, "HEAD"):
        return False
    going = not _succeeds("rebase", base)
    for _ in range(MAX_CONFLICTS):
        if not going:
            return True
        _settle(base, resolution)
        going = not _succeeds("rebase", "--continue")
    _git("rebase", "--abort")
    raise ScenarioError(f"The rebase onto {base} does not end.")


def _settle(base: str, resolution: Mapping[str, str]) -> None:
    conflicts = _git("diff", "--name-only", "--diff-filter=U").splitlines()
    unsettled = [path for path in conflicts if path not in resolution]
    if unsettled or not conflicts:
        _git("rebase", "--abort")
        raise ScenarioError(f"The rebase onto {base} stops at {', '.join(unsettled) or 'no conflict'}: no resolution.")
    for path in conflicts:
        write(path, resolution[path])
    _git("add", "--", *conflicts)


def _succeeds(*arguments: str) -> bool:
    return _run(*arguments).returncode == 0


def _git(*arguments: str) -> str:
    done = _run(*arguments)
    if done.returncode != 0:
        raise ScenarioError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *SETTINGS, *arguments],
        env={**IDENTITY, **os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
