"""One running service of a stand, as a child process of the sandbox."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Self

from deployments.sandbox.artifacts import StandError
from deployments.sandbox.state import Artifact

UP_WITHIN_S = 20.0
"""Seconds within which a service must listen."""


class StandProcess:
    """A service that listens. It dies with the sandbox, however that ends."""

    def __init__(self, artifact: Artifact, url: str, process: asyncio.subprocess.Process) -> None:
        self.artifact = artifact
        self.url = url
        self._process = process

    @classmethod
    async def start(cls, artifact: Artifact, folder: Path, log: Path) -> Self:
        """Start the service of `artifact` on a free port and wait until it listens; `log` is replaced by what it says.

        Raises `StandError` 409 with the end of its log when it does not come up.
        """
        process = await _spawn(folder, log)
        try:
            port = await asyncio.wait_for(_port(process), UP_WITHIN_S)
        except (TimeoutError, ValueError) as error:
            await _end(process)
            raise StandError(409, f"The service of {artifact.name} does not come up: {_last_line(log)}") from error
        except BaseException:
            await _end(process)
            raise
        return cls(artifact, f"http://127.0.0.1:{port}", process)

    @property
    def pid(self) -> int | None:
        """The process while it is alive."""
        return self._process.pid if self._process.returncode is None else None

    async def end(self) -> None:
        """End it; nothing of it runs on return. Idempotent."""
        await _end(self._process)


async def _spawn(folder: Path, log: Path) -> asyncio.subprocess.Process:
    log.parent.mkdir(exist_ok=True)
    command = (sys.executable, "-P", "-B", "-m", "deployments.sandbox.service")
    with log.open("wb") as said:
        return await asyncio.create_subprocess_exec(
            *command,
            "--artifact",
            str(folder),
            "--parent",
            str(os.getpid()),
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )


async def _port(process: asyncio.subprocess.Process) -> int:
    """The port that the service says; `ValueError` when it ended instead."""
    assert process.stdout is not None  # noqa: S101  it was started with a pipe
    return int(json.loads(await process.stdout.readline())["port"])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")
