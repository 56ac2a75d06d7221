"""Carries one deploy of Orch by Orch to its end while Orch itself is replaced. Started from a copy, by file name.

`python -I -S deploy_guard.py FOLDER`

FOLDER belongs to one deploy and holds `plan.json` (see `pipeline.clients.hooks.DeployPlan`). The program runs the
deploy hook, then asks the probe until the expected revision is healthy or the deadline has passed, and otherwise brings
the revision before back with the rollback hook. What came of it is `result.json`, whole or not there at all.

Only the standard library is imported, and all of it at the start: Orch's own packages may be gone a moment later. TERM,
HUP and INT are ignored. Started twice for one folder, only one works; started again after it was killed, or after a
reboot, it goes on where it was: a hook that still runs is waited for, one that has ended is not run again.
"""

import contextlib
import encodings.idna  # noqa: F401  looked up by name when a host is resolved, when it may be gone
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

PAUSE_S = 0.1
KILL_AFTER_S = 5.0
READ_BYTES = 65_536
LONGEST_LINE = 200
LONGEST_REVISION = 100
RUN_ONCE = """
set -C
echo $$ > "$0.pid" || exit 0
set +C
trap : TERM
"$@"
code=$?
echo $code > "$0.tmp" && mv "$0.tmp" "$0.exit"
"""
"""Records who runs the hook before it starts (whoever comes second does nothing), and its exit code afterwards; on TERM
it waits for the hook to tidy up."""
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")


def revision_of_answer(body: bytes, header: str | None) -> str | None:
    """The revision that a health address tells, in its JSON object or else in `X-Revision`; None when in neither."""
    told: object = header
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(body)
        if isinstance(content, dict) and isinstance(content.get("revision"), str):
            told = content["revision"]
    text = told.strip() if isinstance(told, str) else ""
    return text if text.isprintable() and 0 < len(text) <= LONGEST_REVISION else None


def revision_of_output(output: str) -> str | None:
    """The revision that a probe command prints: its last line that is not empty, if that looks like a commit."""
    last = _last_line(output)
    return last if _COMMIT.fullmatch(last) else None


def same_revision(told: str | None, expected: str) -> bool:
    """Whether what a probe tells is the expected commit, which may be cut to its first seven digits or more."""
    return told is not None and (
        told == expected or (_COMMIT.fullmatch(told) is not None and expected.startswith(told.lower()))
    )


class Guard:
    """One deploy, as its plan says."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self._folder = folder
        self._plan = plan
        self._serving: str | None = None

    def carry_out(self) -> dict[str, object]:
        """Deploy, look, and roll back if need be; the outcome."""
        expected, previous, deadline = self._plan["expected"], self._plan["previous"], self._plan["deadline"]
        code, said = self._hook("deploy", min(deadline, time.time() + self._plan["hook_timeout_s"]))
        begun = self._file("rollback", "pid").exists()
        if code == 0 and not begun and self._becomes(expected, deadline):
            return self._outcome("deployed", code, f"production serves {expected[:12]}")
        why = f"production does not serve {expected[:12]}" if code == 0 else f"the deploy hook failed ({said})"
        if code != 0 and not begun and previous and self._becomes(previous, 0):
            return self._outcome("hook failed", code, f"{why}; {previous[:12]} still serves")
        if not (self._plan["rollback"] and previous):
            lacking = "there is no rollback hook" if previous else "no earlier revision is known"
            end = "rollback failed" if code == 0 else "hook failed"
            return self._outcome(end, code, f"{why}, and {lacking}: bring production back by hand")
        return self._roll_back(code, why, previous)

    def _roll_back(self, deploy_code: int | None, why: str, previous: str) -> dict[str, object]:
        code, said = self._hook("rollback", time.time() + self._plan["hook_timeout_s"])
        if code != 0:
            told = f"{why}, and the rollback hook failed ({said}): bring production back by hand"
            return self._outcome("rollback failed", deploy_code, told)
        if not self._becomes(previous, time.time() + self._plan["rollback_within_s"]):
            told = f"{why}, and after the rollback hook production does not serve {previous[:12]}"
            return self._outcome("rollback failed", deploy_code, told)
        return self._outcome("rolled back", deploy_code, f"{why}; {previous[:12]} serves again")

    def _outcome(self, end: str, code: int | None, sentence: str) -> dict[str, object]:
        say(f"{end}: {sentence}")
        return {"end": end, "exit_code": code, "sentence": sentence, "revision": self._serving, "at": time.time()}

    # --- hooks, each once

    def _hook(self, name: str, deadline: float) -> tuple[int | None, str]:
        """The exit code of a hook, run now unless it has been; None when it did not end by itself. With its last line."""
        ended = self._file(name, "exit")
        told = "" if ended.exists() else self._run(name, deadline)
        told = ended.read_text().strip() if ended.exists() else told
        code = int(told) if told.isdigit() else None
        how = told if code is None else f"exit code {code}"
        say(f"the {name} hook ended: {how}")
        log = self._file(name, "log")
        last = _last_line(_end_of(log)) if log.exists() else ""
        return code, f"{how}: {last}" if last else how

    def _run(self, name: str, deadline: float) -> str:
        """Wait until the hook has ended, started here unless it runs already; what to say when it leaves no exit code."""
        started = None
        if not self._running(name):
            if time.time() >= deadline:
                return "not started before the deadline"
            try:
                started = self._start(name)
            except OSError as error:
                return f"cannot be started: {error}"
        while self._running(name) or (started is not None and started.poll() is None):
            if time.time() >= deadline:
                self._end(name)
                self._file(name, "exit").write_text("not finished in time")
                break
            time.sleep(PAUSE_S)
        return "killed"

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        say(f"the {name} hook starts")
        if self._pid(name) is not None:  # of one that a reboot or a person has killed
            self._file(name, "pid").unlink()
        with self._file(name, "log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", RUN_ONCE, str(self._folder / name), *self._plan[name]],
                cwd=self._plan["cwd"],
                env=self._plan[f"{name}_environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _running(self, name: str) -> bool:
        """Whether the recorded process is the hook's still: numbers are given again, a name with our folder is not."""
        pid = self._pid(name)
        try:
            told = Path(f"/proc/{pid}/cmdline").read_bytes() if pid else b""
        except OSError:
            return False
        return str(self._folder / name).encode() in told.split(b"\0")

    def _pid(self, name: str) -> int | None:
        file = self._file(name, "pid")
        told = file.read_text().strip() if file.exists() else ""
        return int(told) if told else None

    def _end(self, name: str) -> None:
        """TERM to the hook's process group, then KILL. What it put into a session of its own goes on."""
        say(f"the {name} hook takes too long and is ended")
        pid = self._pid(name)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
            give_up = time.time() + KILL_AFTER_S
            while self._running(name) and time.time() < give_up:
                time.sleep(PAUSE_S)
            os.killpg(pid, signal.SIGKILL)

    def _file(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    # --- looking

    def _becomes(self, revision: str, deadline: float) -> bool:
        """Look until `revision` serves healthily or the deadline has passed; at least once."""
        while True:
            healthy, self._serving, said = self._look()
            say(f"probe: {said}")
            if healthy and same_revision(self._serving, revision):
                return True
            if time.time() >= deadline:
                return False
            time.sleep(self._plan["probe_every_s"])

    def _look(self) -> tuple[bool, str | None, str]:
        how = self._plan["probe"]
        ask: Callable[[], tuple[bool, str | None, str]] = self._fetch if isinstance(how, str) else self._ask_command
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, self._plan["probe_timeout_s"])
                return ask()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Exception as error:  # noqa: BLE001  whatever a probe meets, the deploy has to come to its end
            return False, None, f"no answer ({error or type(error).__name__})"

    def _fetch(self) -> tuple[bool, str | None, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
        with opener.open(self._plan["probe"], timeout=self._plan["probe_timeout_s"]) as answer:
            revision = revision_of_answer(answer.read(READ_BYTES), answer.headers.get("X-Revision"))
            return answer.status == 200, revision, f"{answer.status}, revision {revision}"

    def _ask_command(self) -> tuple[bool, str | None, str]:
        log = self._file("probe", "log")
        with log.open("wb") as sink:
            command = subprocess.Popen(
                self._plan["probe"], cwd=self._plan["cwd"], env=self._plan["deploy_environment"],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
            )  # fmt: skip
        try:
            code = command.wait()
        except TimeoutError:
            os.killpg(command.pid, signal.SIGKILL)
            command.wait()
            raise
        revision = revision_of_output(_end_of(log))
        return code == 0, revision, f"exit code {code}, revision {revision}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        _request: urllib.request.Request,
        _answer: IO[bytes],
        _code: int,
        _said: str,
        _headers: HTTPMessage,
        _to: str,
    ) -> None:
        """Another address may be another service."""


def say(text: str) -> None:
    """A line of progress; that it cannot be written (a full disk) ends no deploy."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
        sys.stdout.flush()


def _end_of(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - READ_BYTES))
        return stream.read().decode(errors="replace")


def _last_line(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = ("".join(filter(str.isprintable, line)).strip() for line in reversed(text.splitlines()))
    return next(filter(None, lines), "")[:LONGEST_LINE]


def _time_is_up(*_: object) -> None:
    raise TimeoutError("it took too long")


def main(folder: Path) -> None:
    """Carry the folder's deploy to its end, unless it has come to it or somebody else is about it."""
    signal.signal(signal.SIGALRM, _time_is_up)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # a handler, because hooks would inherit SIG_IGN
    result = folder / "result.json"
    with (folder / "guard.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another guard carries this deploy out")
            return
        if result.exists():
            say("this deploy has come to its end already")
            return
        outcome = Guard(folder, json.loads((folder / "plan.json").read_text())).carry_out()
        written = folder / "result.tmp"
        with written.open("w") as stream:
            json.dump(outcome, stream)
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
