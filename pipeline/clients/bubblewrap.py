"""Confines commands that run a branch's code with bubblewrap: https://github.com/containers/bubblewrap, Linux only.

The whole file system is shown read-only, so that every tool and interpreter is where it is outside; on top of that all
that is Orch's or a person's secret is hidden, and the few folders that the command works in are put back writable. It
sees processes, System V IPC and `/dev` of its own, no capability is left, and without `network` only a loopback of its
own. A command with network shares the host's, loopback included: there is no filter between it and local services.

The command stays in the caller's session and process group, so that signals to the group reach it (no
`--new-session`: there is no terminal to be taken over, see `process.py`).
"""

import functools
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.clients.folders import remove_folder
from pipeline.clients.process import INSIDE, confined
from pipeline.errors import CouldNotRun
from pipeline.model import Room

log = logging.getLogger("orch.sandbox")

Mode = Literal["auto", "off", "required"]

PROGRAM = "bwrap"
PROBE_S = 20.0
TEMPORARY = Path("/tmp")  # noqa: S108  inside, where it is a folder of the command's own
SECRETS_AT_HOME = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".pgpass", ".pypirc"),
    *(".npmrc", ".password-store", ".prefect", ".config/gh", ".config/tea", ".config/git", ".config/gcloud"),
    *(".config/containers", ".local/share/keyrings", ".local/state/orch", ".cargo/credentials.toml"),
    *(".claude.json", ".claude/.credentials.json", ".codex", ".bash_history", ".zsh_history", ".python_history"),
)
"""What lies in the home of the user that Orch runs as, and is no command's business."""

RESOLVERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""Where `/etc/resolv.conf` may lead; all else below `/run` is hidden, sockets of databases and of Docker with it."""

ALONE = (
    *("--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--cap-drop", "ALL", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
)


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """How this Orch confines commands: `hidden` is what none may see, `shown` what all may read all the same."""

    mode: Mode = "off"
    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()

    def walls(self, command: Sequence[str], room: Room | None, *, cwd: Path) -> list[str]:
        """The arguments that come before `command` to confine it to `room`; none where nothing confines.

        A folder for temporary files is made, or emptied, in the room's home. Files that the command itself names are
        shown to it. Says once a process when commands run unconfined; raises `CouldNotRun` when that is not allowed.
        """
        if room is None or not self.stands():
            return []
        temporary = _emptied(room.home / "tmp")
        return [
            *(PROGRAM, *ALONE),
            *(() if room.network else ("--unshare-net",)),
            *("--bind", str(temporary), str(TEMPORARY), "--setenv", "TMPDIR", str(TEMPORARY)),
            *_itself(),
            *self._masks(),
            *(word for path in self._readable(command, room) for word in ("--ro-bind", str(path), str(path))),
            *(word for path in room.empty for word in ("--tmpfs", str(path.resolve()))),
            *(word for path in (*room.writable, room.home) for word in _same("--bind", path)),
            *(word for path in room.fixed for word in _same("--ro-bind", path)),
            *(word for ours, place in room.instead for word in ("--bind", str(ours.resolve()), str(place.resolve()))),
            *("--chdir", str(cwd.resolve()), "--"),
        ]

    def stands(self) -> bool:
        """Whether commands are confined. Raises `CouldNotRun` when they have to be and cannot."""
        if self.mode == "off":
            _say_once("ORCH_SANDBOX is off: agents and tests see what Orch's user sees")
            return False
        problem = unavailable()
        if problem and self.mode == "required":
            raise CouldNotRun(f"ORCH_SANDBOX is required, and commands cannot be confined: {problem}.")
        if problem:
            _say_once(f"agents and tests are not confined and see what Orch's user sees: {problem}")
        return not problem

    def _masks(self) -> Iterator[str]:
        if Path("/run").is_dir():
            yield from ("--tmpfs", "/run")
            yield from (word for path in RESOLVERS if Path(path).is_dir() for word in ("--ro-bind", path, path))
        for path in sorted(_outermost({path.resolve() for path in self._hidden() if path.exists()})):
            yield from ("--tmpfs", str(path)) if path.is_dir() else ("--ro-bind", "/dev/null", str(path))

    def _hidden(self) -> tuple[Path, ...]:
        return (*self.hidden, *(Path.home() / name for name in SECRETS_AT_HOME))

    def _readable(self, command: Sequence[str], room: Room) -> list[Path]:
        named = (Path(word) for word in command if word.startswith("/"))
        needed = (Path(sys.executable).resolve(), INSIDE, *self.shown, *room.readable, *filter(Path.is_file, named))
        return [path for path in dict.fromkeys(path.resolve() for path in needed) if path.exists()]


def sandbox_state(mode: Mode) -> str:
    """One sentence for `orch doctor`: whether agents and tests are confined, and if not, why and what to do."""
    problem = unavailable()
    match mode:
        case "off":
            return "Agents and tests are not confined: ORCH_SANDBOX is off; set it to auto or required."
        case "auto" if problem:
            return f"Agents and tests are NOT confined: {problem}."
        case "required" if problem:
            return f"Agents and tests do not run, because ORCH_SANDBOX is required: {problem}."
        case _:
            return f"Agents and tests are confined by {_version()}; tests without network unless the project asks."


@functools.cache
def unavailable() -> str:
    """Why commands cannot be confined on this machine, with what to do; empty when they can. Tried once a process."""
    if shutil.which(PROGRAM) is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    with tempfile.TemporaryDirectory() as folder:
        whole = [PROGRAM, *ALONE, "--unshare-net", "--tmpfs", folder, "--", *confined((), ["true"])]
        try:
            tried = subprocess.run(
                whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap does not run here: {error}"
    if tried.returncode != 0:
        said = tried.stderr.strip() or f"exit code {tried.returncode}"
        return f"bubblewrap may not make namespaces here ({said}); allow unprivileged user namespaces"
    return ""


@functools.cache
def _version() -> str:
    return subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()


@functools.cache
def _say_once(sentence: str) -> None:
    log.warning("%s", sentence)


def _itself() -> Iterator[str]:
    """Orch and the environment that it runs in, where they lie in the hidden folder for temporary files."""
    for path in dict.fromkeys((Path(__file__).parents[2], Path(sys.prefix))):
        if path.is_relative_to(TEMPORARY):
            yield from ("--ro-bind", str(path), str(path))


def _same(option: str, path: Path) -> tuple[str, str, str]:
    real = str(path.resolve())
    return option, real, real


def _outermost(paths: set[Path]) -> set[Path]:
    """Without those that lie in another one, which are hidden with it."""
    return {path for path in paths if not paths.intersection(path.parents)}


def _emptied(folder: Path) -> Path:
    remove_folder(folder)
    folder.mkdir(mode=0o700, parents=True)
    return folder.resolve()
