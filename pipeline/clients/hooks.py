"""Runs what a project does to its stands: deploy, check and roll back; also so that it outlives Orch.

A hook's exit code is its answer: 0 is done; 69, 75, 126 and 127 (sysexits' EX_UNAVAILABLE and EX_TEMPFAIL, a shell's
"cannot execute" and "not found") and death by a signal mean that it could not run, which says nothing about the change;
anything else refuses the change.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pipeline.clients.logs import end_of, last_line, readable
from pipeline.clients.process import Ended, ProcessEnd, run, safe_environment
from pipeline.clients.process_identity import identity
from pipeline.errors import CouldNotRun
from pipeline.model import HookEnd, HookRun, ProcessIdentity
from pipeline.projects import Probe

GUARD = Path(__file__).with_name("deploy_guard.py")
LAUNCHER = Path(__file__).with_name("launcher.py")
LAUNCH_PATIENCE_S = 30.0
NOT_VERDICTS = frozenset({os.EX_UNAVAILABLE, os.EX_TEMPFAIL, 126, 127})
OUTPUT_CHARS = 20_000
_BYTES_A_CHAR = 4


async def run_hook(
    command: Sequence[str], *, cwd: Path, home: Path, facts: Mapping[str, str], log: Path, timeout_s: float
) -> HookRun:
    """Run a hook or check to its end. It sees the allow-listed environment, HOME and `facts`, and dies with us.

    Never raises for what the command does: also one that is missing, or takes longer than `timeout_s`, is a run that
    could not be carried out. `home` is made if need be. Not idempotent: hooks must bear repetition.
    """
    environment, began = hook_environment(home, facts), time.monotonic()
    try:
        ended = await run(command, cwd=cwd, environment=environment, log=log, timeout_s=timeout_s)
    except CouldNotRun as error:
        return HookRun(HookEnd.COULD_NOT_RUN, None, str(error), time.monotonic() - began, "", log)
    output = readable(end_of(log, OUTPUT_CHARS * _BYTES_A_CHAR))[-OUTPUT_CHARS:]
    said = _how(ended, timeout_s)
    last = last_line(output)
    return HookRun(meaning(ended), ended.exit_code, f"{said}: {last}" if last else said, ended.duration_s, output, log)


def hook_environment(home: Path, facts: Mapping[str, str]) -> dict[str, str]:
    """All that a project's hooks and probes see: the allow-listed environment, HOME `home`, made if need be, and facts."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return safe_environment(home, facts)


def meaning(ended: Ended) -> HookEnd:
    """What the end of a project's own command says. Pure."""
    if ended.reason is not ProcessEnd.FINISHED or ended.exit_code is None:
        return HookEnd.COULD_NOT_RUN
    if ended.exit_code == 0:
        return HookEnd.DONE
    if ended.exit_code in NOT_VERDICTS or _signal_of(ended.exit_code):
        return HookEnd.COULD_NOT_RUN
    return HookEnd.REFUSED


def _how(ended: Ended, timeout_s: float) -> str:
    if ended.reason is not ProcessEnd.FINISHED or ended.exit_code is None:
        return f"not finished within {timeout_s:g} s"
    by = _signal_of(ended.exit_code)
    return f"ended by {by}" if by else f"exit code {ended.exit_code}"


def _signal_of(exit_code: int) -> str | None:
    """The signal that ended a command, as a shell tells it: 128 + its number."""
    try:
        return signal.Signals(exit_code - 128).name
    except ValueError:
        return None


# --- what outlives Orch -----------------------------------------------------------------------------------------------


def start_detached(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path) -> ProcessIdentity:
    """Start a command that goes on whatever becomes of us, and tell who it is; it may have ended by now.

    It is nobody's child, leads a session and a process group of its own, has an empty standard input and appends its
    output to `log`. Not idempotent. Raises `CouldNotRun` when it cannot be started. A service manager that ends all
    processes of a service ends this one, too, unless it is told to signal the main process only (`KillMode=process`).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        launched = subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(log.absolute()), *command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=LAUNCH_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CouldNotRun(f"The command {command[0]!r} cannot be started in {cwd}: {error}.") from error
    pid, _, problem = launched.stdout.partition("\n")
    if problem or not pid:
        why = problem or last_line(launched.stderr)
        raise CouldNotRun(f"The command {command[0]!r} cannot be started: {why}. Install it, or correct the command.")
    return _identity_at_start(int(pid))


def _identity_at_start(pid: int) -> ProcessIdentity:
    """Who was started; one that has ended already never counts as alive (no process of ours starts with the boot)."""
    try:
        return identity(pid)
    except ProcessLookupError:
        return replace(identity(os.getpid()), pgid=pid, started=0.0)


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """A deploy that goes on without Orch, see `deploy_guard.py`. Revisions are full commits, `previous` None if unknown.

    `deadline` is in seconds since the epoch: until then the hook has to end and `expected` to serve healthily. `facts`
    are for the deploy hook and the probe, `rollback_facts` for the rollback hook. After that one `previous` has to
    serve within `rollback_within_s`.
    """

    hook: tuple[str, ...]
    rollback: tuple[str, ...]
    probe: Probe
    expected: str
    previous: str | None
    facts: Mapping[str, str]
    rollback_facts: Mapping[str, str]
    cwd: Path
    deadline: float
    hook_timeout_s: float
    probe_timeout_s: float
    rollback_within_s: float
    probe_every_s: float = 2.0


class GuardEnd(StrEnum):
    """How a detached deploy ended."""

    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    ROLLBACK_FAILED = "rollback failed"
    HOOK_FAILED = "hook failed"


@dataclass(frozen=True, slots=True)
class GuardOutcome:
    """What came of a detached deploy. `HOOK_FAILED`: nothing was rolled back, as `previous` still served or is unknown.

    `exit_code` is the deploy hook's, None when it did not end by itself; `revision` is what served at the last look.
    """

    end: GuardEnd
    exit_code: int | None
    sentence: str
    revision: str | None
    at: datetime


def detached_program(plan: DeployPlan, *, folder: Path, home: Path) -> tuple[str, ...]:
    """Write `plan` into `folder`, which is this deploy's alone, and give the command for `start_detached`.

    The command needs nothing of Orch's own environment: its program is copied, its interpreter is the one that Orch's
    environment was made from. Idempotent, and so is the command, started any number of times: a guard that runs goes
    on with the plan that it has read; one that was killed goes on where it was, with this plan. Hooks see the
    allow-listed environment with HOME `home`, which is made if need be.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    program, text = folder.absolute() / GUARD.name, json.dumps(_written(plan, home))
    _replace(folder / "plan.json", text)
    _replace(program, GUARD.read_text())
    return str(Path(sys.executable).resolve()), "-I", "-S", str(program), str(folder.absolute())


def guard_outcome(folder: Path) -> GuardOutcome | None:
    """What came of the deploy of `folder`; None as long as it has not come to its end."""
    file = folder / "result.json"
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    at = datetime.fromtimestamp(told["at"], UTC)
    return GuardOutcome(GuardEnd(told["end"]), told["exit_code"], told["sentence"], told["revision"], at)


def _written(plan: DeployPlan, home: Path) -> dict[str, object]:
    return {
        "deploy": plan.hook,
        "deploy_environment": hook_environment(home, plan.facts),
        "rollback": plan.rollback,
        "rollback_environment": hook_environment(home, plan.rollback_facts),
        "cwd": str(plan.cwd),
        **{name: getattr(plan, name) for name in ("probe", "expected", "previous", "deadline", "hook_timeout_s")},
        **{name: getattr(plan, name) for name in ("probe_timeout_s", "rollback_within_s", "probe_every_s")},
    }


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    written = file.with_name(f"{file.name}.new")
    written.write_text(text)
    written.replace(file)
