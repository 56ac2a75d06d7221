"""Moving branches of the remote: the task branch with a lease, the default branch by a plain fast-forward push."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.branches import PREFIX
from pipeline.clients.git import Result, remote_error
from pipeline.clients.mirror import Mirror
from pipeline.errors import OrchError, Refused, Unavailable
from pipeline.model import Landed, MovedOn, Protected, Pushed

MAX_REASON = 500
_LINE = re.compile(r"^(?P<flag>[ +\-*=!])\t[^\t]*\t(?P<summary>[^\t]*)$", re.MULTILINE)
_RACE = ("cannot lock ref", "failed to update ref", "incorrect old value", "reference already exists")
"""Words of a server at which somebody else's push came in between ours (git 2.39, `receive-pack`)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server said about one ref. `said` is its own word, for people."""

    accepted: bool
    by_server: bool
    said: str


def parse_push(result: Result) -> Verdict | None:
    """Read `git push --porcelain` of one ref; None when git never came to speak about the ref (no connection)."""
    line = _LINE.search(result.text)
    if line is None:
        return None
    told = [text.removeprefix("remote:").strip() for text in result.error.splitlines() if text.startswith("remote:")]
    said = "; ".join(text for text in (line["summary"], *told) if text)
    return Verdict(line["flag"] != "!", line["summary"].startswith("[remote rejected]"), said[:MAX_REASON])


@dataclass(frozen=True, slots=True)
class Lander:
    """Writes to the remote of one mirror."""

    mirror: Mirror

    def remote_now(self, branch: str) -> str | None:
        """The branch's commit, asked of the remote now. Raises `Unavailable`, `Refused` or `Missing`."""
        return self.mirror.heads().get(branch)

    def push(self, commit: str, branch: str, *, expected: str | None) -> Pushed | MovedOn:
        """Move the task branch from `expected` (None: absent) to `commit`, rewritten history included. Idempotent.

        A remote that stands at `commit` already counts as pushed. Raises `Refused` for any branch but a task branch,
        and when the server declines; `Unavailable` when it cannot be reached.
        """
        self._must_be_task_branch(branch)
        lease = f"--force-with-lease=refs/heads/{branch}:{self.mirror.known(expected) if expected else ''}"
        result, verdict = self._push(commit, branch, lease)
        if verdict is not None and verdict.accepted:
            self._note(branch, commit)
            return Pushed(commit)
        found = self.remote_now(branch)
        if found == commit:  # it came through, only its answer did not
            self._note(branch, commit)
            return Pushed(commit)
        if verdict is None:
            raise remote_error(self.mirror.remote, result.error)
        if found != expected:
            return MovedOn(found)
        raise self._declined(branch, verdict)

    def land(self, commit: str, *, expected: str) -> Landed | MovedOn | Protected:
        """Move the default branch from `expected` to exactly `commit`, unforced: the server refuses all but forward.

        Idempotent: a default branch that is `commit` already counts as landed. After our push was accepted somebody
        may push on top of it at once; that does not unland it. Raises `Refused` when `commit` does not contain
        `expected`, `Unavailable` when the remote cannot be reached (whether it landed is then unknown: look).
        """
        branch = self.mirror.default_branch
        found = self.remote_now(branch)
        if found == commit:
            return self._landed(commit)
        if found != expected:
            return MovedOn(found)
        if not self.mirror.is_ancestor(expected, commit):
            raise Refused(f"{commit[:10]} does not contain {expected[:10]}, the tip of {branch}; validate it again.")
        result, verdict = self._push(commit, branch)
        found = self.remote_now(branch)
        if found == commit or (verdict is not None and verdict.accepted and self._holds(commit)):
            return self._landed(commit)
        if found != expected:
            return MovedOn(found)
        if verdict is None:
            raise remote_error(self.mirror.remote, result.error)
        if verdict.by_server and not _is_race(verdict):
            return Protected(verdict.said)
        raise self._declined(branch, verdict)

    def _push(self, commit: str, branch: str, *options: str) -> tuple[Result, Verdict | None]:
        result = self.mirror.repository.talk(
            *("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *options),
            *(self.mirror.remote.url, f"{self.mirror.known(commit)}:refs/heads/{branch}"),
        )
        result = Result(result.code, result.out, self.mirror.remote.redacted(result.error))
        return result, parse_push(result)

    def _landed(self, commit: str) -> Landed:
        self._note(self.mirror.default_branch, commit)
        return Landed(commit)

    def _holds(self, commit: str) -> bool:
        """Whether the default branch, fetched now, contains `commit`."""
        return self.mirror.is_ancestor(commit, self.mirror.fetch())

    def _note(self, branch: str, commit: str) -> None:
        """Remember what the remote is known to have, as a fetch would."""
        with self.mirror.exclusive():
            self.mirror.repository.do("update-ref", f"refs/remotes/origin/{branch}", commit)

    def _must_be_task_branch(self, branch: str) -> None:
        sound = self.mirror.repository.ask("check-ref-format", f"refs/heads/{branch}", ok=(0, 1)).code == 0
        if branch == self.mirror.default_branch or not branch.startswith(PREFIX) or not sound:
            raise Refused(f"{branch!r} is not a task branch ({PREFIX}...); Orch pushes only those.")

    def _declined(self, branch: str, verdict: Verdict) -> OrchError:
        name = self.mirror.remote.name
        if _is_race(verdict):
            return Unavailable(f"{name}: another push to {branch} was under way ({verdict.said}). Orch tries again.")
        return Refused(f"{name}: the push to {branch} was declined ({verdict.said}). Allow Orch to push task branches.")


def _is_race(verdict: Verdict) -> bool:
    words: Sequence[str] = _RACE
    return any(word in verdict.said for word in words)
