"""Checkpoints found from the code: every write of the store, every call to a neighbour, every git command that changes
something, and the start and the end of every agent and test run.

Between two of them nothing happens that anybody could see, so killing right after each is killing everywhere. A plan
is a file `{"flow": ..., "at": n}`: the first process of that flow kills itself with SIGKILL after its n-th checkpoint;
the plan is gone then, so that whoever comes next lives.
"""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import git
import httpx

from pipeline.clients import process
from pipeline.model import ProcessIdentity
from pipeline.store.engine import Store

READS_ONLY = {"rev-parse", "log", "show", "cat-file", "ls-tree", "merge-base", "diff", "rev-list", "for-each-ref", "status",
              "patch-id", "show-ref", "config", "version", "ls-files", "diff-tree", "ls-remote", "check-ref-format"}  # fmt: skip
LOCKING = "/concurrency_limits"
"""Of all that Prefect is told, only the merge lock counts: every state and heartbeat of a run would be noise."""


def kill_as_planned(plan: Path, flow: str) -> None:
    """Follow the plan, if it is about this flow; the plan of `at` -1 counts the checkpoints into `<plan>.count`."""
    try:
        wanted = json.loads(plan.read_text())
    except FileNotFoundError:
        return
    if wanted["flow"] != flow:
        return
    by_name = isinstance(wanted["at"], str)
    if not by_name:
        plan.unlink()
    names: list[str] = []

    def passed(name: str) -> None:
        names.append(name)
        plan.with_suffix(".passed").write_text("\n".join(names))
        if by_name and name == wanted["at"] and plan.exists():
            plan.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if len(names) == wanted["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(passed)


def watch(passed: Callable[[str], None]) -> None:
    """Have `passed` called after every checkpoint of this process, with its name."""
    _watch_store(passed)
    _watch_http(passed)
    _watch_git(passed)
    _watch_commands(passed)


def _watch_store(passed: Callable[[str], None]) -> None:
    write = Store.write

    def watched(self: Store, work: Any, *args: Any, **kwargs: Any) -> Any:
        result = write(self, work, *args, **kwargs)
        passed(f"store: {work.__module__.rpartition('.')[2]}.{work.__name__}")
        return result

    Store.write = watched  # type: ignore[method-assign]


def _watch_http(passed: Callable[[str], None]) -> None:
    send = httpx.AsyncClient.send

    async def watched(self: httpx.AsyncClient, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        response = await send(self, request, **kwargs)
        if request.method != "GET" and (type(self) is httpx.AsyncClient or LOCKING in request.url.path):
            passed(f"http: {request.method} {request.url.path}")
        return response

    httpx.AsyncClient.send = watched  # type: ignore[method-assign]


def _watch_git(passed: Callable[[str], None]) -> None:
    execute = git.Git.execute

    def watched(self: git.Git, command: Any, *args: Any, **kwargs: Any) -> Any:
        result = execute(self, command, *args, **kwargs)
        verb = git_verb(command)
        only_asks = verb == "symbolic-ref" and "--quiet" in command
        if verb not in READS_ONLY and not only_asks:
            passed(f"git: {verb}")
        return result

    git.Git.execute = watched  # type: ignore[method-assign]


def _watch_commands(passed: Callable[[str], None]) -> None:
    run = process.run

    async def watched(
        command: Sequence[str], *, started: Callable[[ProcessIdentity], None] | None = None, **kwargs: Any
    ) -> process.Ended:
        def begun(who: ProcessIdentity) -> None:
            if started is not None:
                started(who)
            passed(f"command: started {_module(command)}")

        ended = await run(command, started=begun, **kwargs)
        passed(f"command: ended {_module(command)}")
        return ended

    process.run = watched


def _module(command: Sequence[str]) -> str:
    """What an agent or a test command runs, `python -m` and its options left out."""
    return command[command.index("-m") + 1] if "-m" in command else command[0]


def git_verb(command: Sequence[str]) -> str:
    """Which of git's commands an argument list runs; what stands before `git` are `env` and the supervisor."""
    words = list(command[command.index("git") + 1 :])
    while words[:1] == ["-c"]:
        del words[:2]
    return words[0]
