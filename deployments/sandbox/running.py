"""Starts a sandbox on a free port, in a thread with an event loop of its own."""

import asyncio
import socket
import threading
from pathlib import Path
from types import TracebackType

import uvicorn

from deployments.sandbox.app import Sandbox
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options


class Server:
    """One uvicorn server with a sandbox, on a socket that is bound already (so that the address is known)."""

    def __init__(self, root: Path, port: int, options: Options | None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.sandbox = Sandbox(root.resolve(), self.url, options)
        config = uvicorn.Config(
            self.sandbox.app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2, ws="none"
        )
        self.uvicorn = uvicorn.Server(config)

    async def run(self) -> None:
        """Serve until asked to stop."""
        await self.uvicorn.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Ask the server to end; what hangs on a fault is let go. Call in the server's loop."""
        self.sandbox.core.faults.clear()
        self.uvicorn.should_exit = True

    async def until_listening(self, serving: "asyncio.Task[None]") -> None:
        """Wait until requests are answered; raises what ended the server when it ended before that."""
        while not self.uvicorn.started:
            if serving.done():
                serving.result()
                raise RuntimeError("The sandbox ended before it listened; its log says why.")
            await asyncio.sleep(0.01)


class running_sandbox:  # noqa: N801  used as `with running_sandbox(...)`, like contextlib.suppress
    """A context manager, both `with` and `async with`, that gives a `SandboxClient` of a sandbox below `root`.

    A root that has a snapshot is taken up where it was left. `port` 0 is any free one. The sandbox always runs in a
    thread with a loop of its own, so that its blocking client never waits for itself.
    """

    def __init__(self, root: Path, *, port: int = 0, options: Options | None = None) -> None:
        self._root = root
        self._port = port
        self._options = options

    def __enter__(self) -> SandboxClient:
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        self._client = SandboxClient(self._server.url, self._options)
        return self._client

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()

    async def __aenter__(self) -> SandboxClient:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # handed to the thread that waits for the sandbox to come up
            self._failed = error
            if self._ready.is_set():
                raise
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._server = Server(self._root, self._port, self._options)
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.run())
        await self._server.until_listening(serving)
        self._ready.set()
        await serving
