"""Git as a person uses it on a clone of the sandbox's repository."""

import os
import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    return subprocess.run(["git", *arguments], cwd=folder, env=env, check=check, capture_output=True, text=True)


def commit(clone: Path, name: str, text: str = "x\n") -> str:
    (clone / name).write_text(text)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", f"Write {name}")
    return git(clone, "rev-parse", "HEAD").stdout.strip()
