"""`python -P -m deployments.sandbox.hooks stage|check|deploy|rollback ...`: the sample project's hooks.

They read ORCH_EXPECTED_REVISION, ORCH_ARTIFACT and ORCH_WORK_ITEM, and bear repetition. Exit code 0: done; 75: could not
run, try again (the sandbox does not answer); 1: refused, with the reason as the last line.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from deployments.sandbox.build import archive_arguments
from deployments.sandbox.git import environment
from deployments.sandbox.stand_settings import READER_TOKEN

DONE, REFUSED, COULD_NOT_RUN = 0, 1, os.EX_TEMPFAIL
ANSWER_S = 60.0
CHECK_S = 5.0
"""Seconds within which staging must answer a check."""
GIT_S = 120.0
QUESTION = "quote?prices=1000,500&percent=20"


class Refused(Exception):
    """The hook's answer is no; doing it again would not help."""


class CouldNotRun(Exception):
    """Nothing was judged: the sandbox or its Gitea does not answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a hook is told, by its arguments and by its environment."""

    sandbox: str
    repository: str
    token: str
    revision: str
    artifact: str
    work_item: str


def stage(job: Job) -> str:
    """Build the artifact of the revision unless it is built, and have staging run it."""
    if _call(job, "GET", f"/sandbox/artifacts/{job.artifact}", missing_is_fine=True).status_code == 404:
        _call(job, "PUT", f"/sandbox/artifacts/{job.artifact}", content=_build(job))
    _run(job, "stage", "staging", job.artifact)
    return f"Staging runs {job.artifact}."


def check(job: Job) -> str:
    """Ask staging whether it is healthy, of the right revision, and able to quote a price."""
    _call(job, "POST", "/sandbox/stands/staging/check")
    health = _call(job, "GET", "/stands/staging/health", timeout=CHECK_S).json()
    if health["revision"] != job.revision:
        raise Refused(f"Staging runs {health['revision']}, not {job.revision}; stage it again.")
    quote = _call(job, "GET", f"/stands/staging/{QUESTION}", timeout=CHECK_S).json()
    return f"Staging is healthy and quotes {quote['total']} cents."


def deploy(job: Job) -> str:
    """Have production run the artifact that staging built; refused when there is none or it is of another revision."""
    _run(job, "deploy", "production", job.artifact)
    return f"Production runs {job.artifact}."


def rollback(job: Job) -> str:
    """Have production run what was built from the revision, whatever it is called."""
    _run(job, "rollback", "production", None)
    return f"Production runs {job.revision} again."


HOOKS: dict[str, Callable[[Job], str]] = {"stage": stage, "check": check, "deploy": deploy, "rollback": rollback}


def _run(job: Job, hook: str, stand: str, artifact: str | None) -> None:
    fields = {"hook": hook, "artifact": artifact, "revision": job.revision, "work_item": job.work_item}
    _call(job, "POST", f"/sandbox/stands/{stand}/run", json=fields)


def _build(job: Job) -> bytes:
    """Clone the repository and pack the revision as an artifact."""
    scheme, address = f"{job.sandbox}/gitea/{job.repository}.git".split("://", 1)
    with tempfile.TemporaryDirectory(prefix="sandbox-build-") as folder:
        clone = Path(folder) / "clone.git"
        cloned = _git(Path(folder), "clone", "-q", "--bare", f"{scheme}://git:{job.token}@{address}", str(clone))
        if cloned.returncode:
            raise CouldNotRun(f"{job.repository} cannot be cloned: {_said(cloned)}")
        built = _git(clone, *archive_arguments(job.revision))
        if built.returncode:
            raise Refused(f"{job.artifact} cannot be built from {job.revision} of {job.repository}: {_said(built)}")
        return built.stdout


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            ("git", *arguments), cwd=folder, env=environment(), capture_output=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CouldNotRun(f"git {arguments[0]} cannot run: {error}") from error


def _said(ended: "subprocess.CompletedProcess[bytes]") -> str:
    return ended.stderr.decode(errors="replace").strip()


def _call(
    job: Job,
    method: str,
    path: str,
    *,
    json: object = None,
    content: bytes | None = None,
    timeout: float = ANSWER_S,
    missing_is_fine: bool = False,
) -> httpx.Response:
    """The sandbox's answer; `CouldNotRun` when there is none or it says 503, `Refused` when it says no."""
    try:
        with httpx.Client(base_url=job.sandbox, timeout=timeout, trust_env=False) as http:
            answer = http.request(method, path, json=json, content=content)
    except httpx.ReadTimeout as error:
        raise Refused(f"{method} {path} was not answered within {timeout:g} s.") from error
    except httpx.TransportError as error:
        raise CouldNotRun(f"The sandbox at {job.sandbox} does not answer: {error!r}. Is it running?") from error
    if answer.status_code == 503:
        raise CouldNotRun(_reason(answer))
    if answer.is_error and not (missing_is_fine and answer.status_code == 404):
        raise Refused(_reason(answer))
    return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url.path} answered {answer.status_code}: {answer.text}"


def main(arguments: list[str] | None = None, told: Mapping[str, str] = os.environ) -> int:
    """Run one hook; its exit code."""
    parser = argparse.ArgumentParser(prog="python -P -m deployments.sandbox.hooks", description=__doc__)
    parser.add_argument("hook", choices=HOOKS)
    parser.add_argument("--sandbox", required=True, help="the sandbox's address")
    parser.add_argument("--repository", required=True, help="owner/name in the sandbox's Gitea")
    parser.add_argument("--token", default=READER_TOKEN, help="a Gitea token that may read it")
    given = parser.parse_args(arguments)
    try:
        job = Job(given.sandbox, given.repository, given.token, *_told(told, given.hook))
        sys.stdout.write(f"{HOOKS[given.hook](job)}\n")
    except (Refused, CouldNotRun) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED if isinstance(error, Refused) else COULD_NOT_RUN
    return DONE


def _told(told: Mapping[str, str], hook: str) -> tuple[str, str, str]:
    """Revision, artifact and work item from the environment; the artifact is of no use to a check or a rollback."""
    revision, artifact = told.get("ORCH_EXPECTED_REVISION", ""), told.get("ORCH_ARTIFACT", "")
    if not revision:
        raise Refused(f"The {hook} hook does not know which revision: ORCH_EXPECTED_REVISION is not set.")
    if not artifact and hook in ("stage", "deploy"):
        raise Refused(f"The {hook} hook does not know which artifact: ORCH_ARTIFACT is not set.")
    return revision, artifact, told.get("ORCH_WORK_ITEM", "")


if __name__ == "__main__":
    sys.exit(main())
