"""A real bare repository that plays the remote, somebody else's clone of it, and workspaces on it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from pipeline.clients.bubblewrap import Bubblewrap
from pipeline.clients.workspace import UNCONFINED, GitWorkspace
from pipeline.projects import Project

BRANCH = "feature/WID-1-change"
ITEM = "WID-1"
ARTIFACTS = "docs/work-items/WID-1"
CLEAN = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "person@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(where: Path, *arguments: str) -> str:
    """Run git as a person would; its output."""
    done = subprocess.run(["git", *arguments], cwd=where, env=CLEAN, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True)
class Origin:
    """The remote at `bare`, and a person's clone of it at `clone`."""

    base: Path

    @property
    def bare(self) -> Path:
        return self.base / "origin.git"

    @property
    def clone(self) -> Path:
        return self.base / "person"

    @property
    def mirror(self) -> Path:
        """Orch's mirror of it."""
        return self.base / "state/repos/WID.git"

    def create(self) -> None:
        """Make both, with one commit, as a copy of what was made once: copying is faster than six runs of git."""
        made = _made()
        shutil.copytree(made.base, self.base, symlinks=True, dirs_exist_ok=True)
        config = self.clone / ".git/config"
        config.write_text(config.read_text().replace(str(made.bare), str(self.bare)))

    def commit(self, files: Mapping[str, str], branch: str = "main") -> str:
        """A person's commit on a branch, pushed; the branch is made from main when it is new."""
        git(self.clone, "fetch", "-q", "--prune")
        known = git(self.clone, "for-each-ref", "--format=%(refname)", f"refs/remotes/origin/{branch}")
        git(self.clone, "checkout", "-q", "--no-track", "-B", branch, f"origin/{branch if known else 'main'}")
        return self._save(files)

    def _save(self, files: Mapping[str, str]) -> str:
        write(self.clone, files)
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "-m", f"person changes {', '.join(files)}")
        git(self.clone, "push", "-q", "origin", "HEAD")
        return git(self.clone, "rev-parse", "HEAD")

    def tip(self, branch: str = "main") -> str | None:
        found = git(self.bare, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return found or None

    def hook(self, name: str, script: str) -> None:
        """Have the server run a hook."""
        hook = self.bare / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)

    def workspace(
        self,
        *command: str,
        timeout_s: float = 60,
        url: str | None = None,
        credentials: Mapping[str, str] | None = None,
        remote_timeout_s: float = 60,
        sandbox: Bubblewrap = UNCONFINED,
        **settings: Any,
    ) -> GitWorkspace:
        """Orch's workspace on it; `settings` are further ones of the project."""
        project = Project(
            key="WID",
            plane_project=UUID(int=1),
            repository="team/app",
            test_command=command or ("true",),
            test_timeout_s=timeout_s,
            **settings,
        )
        return GitWorkspace(
            project,
            root=self.base / "state",
            url=url or str(self.bare),
            credentials=credentials or {},
            home=self.base / "home",
            remote_timeout_s=remote_timeout_s,
            sandbox=sandbox,
        )


_FOLDER = tempfile.TemporaryDirectory(prefix="origin-")


@cache
def _made() -> Origin:
    made = Origin(Path(_FOLDER.name))
    git(made.base, "init", "-q", "--bare", "--initial-branch=main", str(made.bare))
    git(made.base, "clone", "-q", str(made.bare), str(made.clone))
    made._save({"app.txt": "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"})
    return made


def change(workspace: GitWorkspace, files: Mapping[str, str], item: str = ITEM, branch: str = BRANCH) -> str:
    """An agent's change in the item's worktree, committed by Orch; the commit."""
    write(workspace.worktree(item, branch), files)
    return workspace.commit_all(item, "agent changes files")
