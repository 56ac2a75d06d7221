"""`python -m deployments.sandbox --root DIR`: runs a sandbox until TERM, printing one JSON line once it listens."""

import argparse
import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from deployments.sandbox.options import GITEA_VERSION, Options
from deployments.sandbox.running import Server

PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Run until a TERM or INT signal; 0 when it ended as asked."""
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of its repositories and its snapshot")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface (0: any free one)")
    parser.add_argument("--gitea-version", default=GITEA_VERSION, help="the Gitea to be like")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started it ends")
    given = parser.parse_args(arguments)
    if given.die_with_parent:
        _die_with_parent()
    options = Options(gitea_version=given.gitea_version)
    asyncio.run(_serve(given.root, given.port, options))
    return 0


async def _serve(root: Path, port: int, options: Options) -> None:
    server = Server(root, port, options)
    serving = asyncio.create_task(server.run())
    await server.until_listening(serving)
    # Registered after uvicorn's own handlers, which would wait for requests that hang on a fault.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    sys.stdout.write(json.dumps({"url": server.url, "pid": os.getpid(), "root": str(server.sandbox.core.root)}) + "\n")
    sys.stdout.flush()
    await serving


def _die_with_parent() -> None:
    """Have the kernel send TERM when the parent ends, and end at once when it already has (Linux only)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
