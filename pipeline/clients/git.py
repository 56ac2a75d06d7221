"""Runs git so that only Orch decides what happens: no hooks, no inherited configuration, no inherited environment.

GitPython starts the processes. It always adds our whole environment, so every name that git is not meant to see is
taken out again by `env -u` (names only: values must not show up in a process list).
"""

import os
import re
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import filelock
import git

from pipeline.clients.process import supervised
from pipeline.errors import CouldNotRun, Missing, OrchError, Refused, TurnedAway, Unavailable

LOCAL_TIMEOUT_S = 600.0
REMOTE_TIMEOUT_S = 300.0
KEPT = ("PATH", "TZ")
NO_COMMIT = "0" * 40
_COMMIT = re.compile(r"[0-9a-f]{40}")

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",  # else a configuration could name a program to run
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "core.packedRefsTimeout=10000",
    "core.filesRefLockTimeout=10000",
    "credential.helper=",
    "commit.gpgSign=false",
    "rebase.updateRefs=false",
    "gc.auto=0",  # several processes work on one mirror
    "maintenance.auto=false",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=dirty",  # else git runs inside repositories that an agent made, under their configuration
    "protocol.allow=never",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "http.followRedirects=false",  # the credentials are for the host in the URL only
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
)

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_EDITOR": ":",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_PAGER": "cat",
    "GIT_AUTHOR_NAME": "Orch",
    "GIT_AUTHOR_EMAIL": "orch@localhost",
    "GIT_COMMITTER_NAME": "Orch",
    "GIT_COMMITTER_EMAIL": "orch@localhost",
}

NOT_FOUND = ("not found", "does not exist", "returned error: 404", "does not appear to be a git repository")
NOT_ALLOWED = (
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "returned error: 401",
    "returned error: 403",
    "Permission denied",
    "access denied",
    "unable to update url base from redirection",
)


def is_commit(text: str) -> bool:
    """Whether `text` is a full commit id, and so can be no option, range or name."""
    return _COMMIT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Result:
    """What a git process answered."""

    code: int
    out: bytes
    error: str

    @property
    def text(self) -> str:
        """Its output without the last line end."""
        return self.out.decode(errors="replace").rstrip("\n")

    @property
    def names(self) -> tuple[str, ...]:
        """NUL-separated names, sorted."""
        return tuple(sorted(name for name in self.out.decode(errors="replace").split("\0") if name))


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository as it is reached. `credentials` are environment for the processes that talk to it, and no other."""

    name: str
    url: str
    credentials: Mapping[str, str] = field(repr=False)
    home: Path
    timeout_s: float = REMOTE_TIMEOUT_S

    @property
    def is_path(self) -> bool:
        """Whether it lies on this machine's disk."""
        return self.url.startswith(("/", "file://"))

    @property
    def is_http(self) -> bool:
        """Whether something may stand between that answers in the forge's place."""
        return self.url.startswith(("http://", "https://"))

    def redacted(self, text: str) -> str:
        """`text` without any part of the credentials."""
        for word in {word for value in self.credentials.values() for word in value.split() if len(word) >= 8}:
            text = text.replace(word, "***")
        return text.strip()


@dataclass(frozen=True, slots=True)
class Repository:
    """A git directory on disk, with the work tree that commands are about, if any."""

    remote: Remote
    git_dir: Path
    work_tree: Path | None = None

    def ask(self, *arguments: str, ok: Collection[int] = (0,)) -> Result:
        """Read something. Raises `CouldNotRun` with git's own words for an exit code that is not in `ok`."""
        return self._checked(arguments, self._execute(["git"], arguments, {}, LOCAL_TIMEOUT_S), ok)

    def do(
        self, *arguments: str, ok: Collection[int] = (0,), environment: Mapping[str, str] = MappingProxyType({})
    ) -> Result:
        """Change something here. The process dies with ours, so that it cannot go on beside the one that heals."""
        prefix = supervised(["git"], report_to="stderr")
        return self._checked(arguments, self._execute(prefix, arguments, environment, LOCAL_TIMEOUT_S), ok)

    def talk(self, *arguments: str, trace: str | None = None) -> Result:
        """Talk to the remote, with credentials and a time limit; the caller judges the exit code.

        With `trace`, the name of one of git's GIT_TRACE_* variables, that trace is in the result's `error`, too. Raises
        `Unavailable` when it takes longer than the remote's `timeout_s`.
        """
        prefix = supervised(["git"], report_to="stderr")
        extra = {**self.remote.credentials, **({trace: "1"} if trace else {})}
        result = self._execute(prefix, arguments, extra, self.remote.timeout_s)
        if result.code == -signal.SIGKILL:
            raise Unavailable(
                f"{self.remote.name} did not answer git {arguments[0]} within {self.remote.timeout_s:g} s. "
                "Orch tries again; look whether the forge is overloaded."
            )
        return result

    def commit_of(self, ref: str) -> str | None:
        """The commit that a full ref name (or HEAD) stands at, None when there is no such ref."""
        found = self.ask("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", ok=(0, 1))
        return found.text or None

    def _checked(self, arguments: tuple[str, ...], result: Result, ok: Collection[int]) -> Result:
        if result.code not in ok:
            said = self.remote.redacted(result.error) or f"exit code {result.code}"
            raise CouldNotRun(f"{self.remote.name}: git {arguments[0]} failed in {self.git_dir}: {said}")
        return result

    def _execute(
        self, prefix: list[str], arguments: tuple[str, ...], extra: Mapping[str, str], timeout_s: float
    ) -> Result:
        environment = {**ENVIRONMENT, "HOME": str(self.remote.home), "GIT_DIR": str(self.git_dir), **extra}
        if self.work_tree is not None:
            environment["GIT_WORK_TREE"] = str(self.work_tree)
        hidden = [name for name in os.environ if name not in KEPT and name not in environment]
        settings = (*SETTINGS, "protocol.file.allow=always") if self.remote.is_path else SETTINGS
        code, out, error = git.Git(str(self.work_tree or self.git_dir)).execute(
            [
                "env",
                *(word for name in hidden for word in ("-u", name)),
                *prefix,
                *(word for setting in settings for word in ("-c", setting)),
                *arguments,
            ],
            env=environment,
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=timeout_s,
            start_new_session=True,
        )
        return Result(code, out, error)


def remote_error(remote: Remote, said: str) -> OrchError:
    """What git's words about a failed fetch or push mean: `TurnedAway`, `Missing`, `Refused` or `Unavailable`.

    The words are git's own (2.39, C locale); what is unknown counts as unavailable, so that it is tried again. Over HTTP
    a refusal is never believed from git alone: a proxy answers 404 or 403 in place of a forge that is gone.
    """
    said = remote.redacted(said)
    if remote.is_http and any(words in said for words in (*NOT_ALLOWED, *NOT_FOUND)):
        return TurnedAway(
            f"{remote.name}: git was turned away at {remote.url} ({said}). Orch tries again; look whether the forge is up, "
            "whether the repository is there, and whether Orch's token may read and write it."
        )
    if any(words in said for words in NOT_ALLOWED):
        return Refused(f"{remote.name}: access is refused ({said}). Give Orch's token the right to read and write it.")
    if any(words in said for words in NOT_FOUND):
        return Missing(
            f"{remote.name} does not exist at {remote.url}, or is hidden from Orch ({said}). "
            "Correct `repository` in the project registry, or give Orch's token access."
        )
    return Unavailable(f"{remote.name} cannot be reached ({said}). Orch tries again; look whether the forge is up.")


@contextmanager
def only_one(lock: Path, *, patience_s: float, what: str) -> Iterator[None]:
    """Hold a lock file, against other processes and threads; freed by the kernel when its holder dies.

    Raises `Unavailable` when somebody else still holds it after `patience_s`. Not re-entrant.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(lock, timeout=patience_s):
            yield
    except filelock.Timeout as error:
        raise Unavailable(f"{what} has been busy for {patience_s:g} s. Orch tries again.") from error
