"""A small process supervisor: named children, their output in files and on the terminal, restarts, an orderly end.

    async with Supervisor(logs, terminal=sys.stderr) as supervisor:
        await supervisor.start(Child("prefect", server.command, server.environment(), ready=server.wait_until_healthy))
        await supervisor.start(Child("agents", worker_command(...), environment))
        await supervisor.wait()

The block is left quietly on Ctrl-C, SIGTERM or SIGHUP, and with `CouldNotRun` when a child cannot be kept alive; either
way every child is gone by then, in the reverse order of their start, with all that it started, also what an earlier
one that died had left running: that goes on until then. A second signal does not wait for the graces.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from deployments.process_groups import MARK, Started, end_group, end_marked, start_in_group
from deployments.process_logs import ChildLog, Terminal
from pipeline.errors import CouldNotRun

LAST_WORDS_S = 0.5
MEND_S = 15
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a child that died by itself is started again.

    The n-th restart within `within_s` seconds waits the n-th of `delays_s`; one death more, and the child is given up.
    """

    delays_s: tuple[float, ...] = (0.5, 2, 5, 10, 20)
    within_s: float = 300


NEVER = Restarts(delays_s=())
"""A child whose end ends everything."""


@dataclass(frozen=True, slots=True)
class Child:
    """What is started: `environment` is the whole of it but for a mark of ours, nothing is inherited.

    `ready` returns once the child serves and may raise `OrchError` to say why it never will; `ready_within_s` and
    `grace_s` (between TERM and KILL) are in seconds. `before_restart` is tried once, for `MEND_S` at most, when the child
    has died; what it raises is logged, and the child started again.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    ready_within_s: float = 60
    grace_s: float = 10
    restarts: Restarts = Restarts()
    before_restart: Callable[[], Awaitable[object]] | None = None


class Supervisor:
    """Starts children and keeps them alive until it is left. To be used once, from the main thread's event loop.

    Children get `/dev/null` as input and a process group of their own, so that Ctrl-C reaches only the supervisor; the
    kernel sends them TERM when the supervisor dies without a word. Logs are `<logs>/<name>.log`.
    """

    def __init__(
        self, logs: Path, *, terminal: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stopped_by: signal.Signals | None = None
        self._logs = logs
        self._terminal = Terminal(terminal)
        self._clock = clock
        self._kept: list[_Kept] = []
        self._hurry = asyncio.Event()
        self._leaving = False

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = loop.create_future()
        self._owner = asyncio.current_task()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._leaving = True
        try:
            await self._stop_even_when_cancelled()
        finally:
            for number in SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)
            self._failure.cancel()
        ended_by_signal = self.stopped_by is not None and kind is asyncio.CancelledError
        if ended_by_signal and self._owner is not None:
            self._owner.uncancel()
        return ended_by_signal

    async def start(self, child: Child) -> None:
        """Start `child` and return when it is ready.

        Raises `CouldNotRun`, with the last lines of its log and where that is, when it cannot be started, ends, is not
        ready in time, or when a child started earlier died for good; what `child.ready` raises comes through.
        """
        kept = _Kept(child, ChildLog(self._logs, child.name, self._terminal), self._clock)
        self._kept.append(kept)
        await self._unless_another_fails(kept.start())
        kept.keeper = asyncio.create_task(kept.keep(), name=f"keep {child.name}")
        kept.keeper.add_done_callback(self._on_given_up)

    async def wait(self) -> None:
        """Wait for the end: left by a signal (see the module), or raises `CouldNotRun` when a child died too often."""
        await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Stop all children, the last one started first; they and what they started are gone on return. Idempotent."""
        while self._kept:
            await self._kept[-1].stop(self._hurry)
            self._kept.pop()

    async def _unless_another_fails(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            await (task if task.done() else self._failure)
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _stop_even_when_cancelled(self) -> None:
        stopping = asyncio.create_task(self.stop(), name="stop all")
        interrupted: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError as error:
                self._hurry.set()
                interrupted = error
        if interrupted is not None:
            raise interrupted

    def _on_given_up(self, keeper: asyncio.Task[None]) -> None:
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None and not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # told by `wait` and `start`; not a second time by the event loop

    def _on_signal(self, number: signal.Signals) -> None:
        if self.stopped_by is not None or self._leaving:
            self._hurry.set()
        elif self._owner is not None:
            self._terminal.say(f"{number.name}: stopping")
            self._owner.cancel()
        self.stopped_by = self.stopped_by or number


class _Kept:
    """One child under supervision, over all its restarts."""

    def __init__(self, child: Child, log: ChildLog, clock: Callable[[], float]) -> None:
        self.child = child
        self.keeper: asyncio.Task[None] | None = None
        self._mark = secrets.token_hex(8)
        self._log = log
        self._clock = clock
        self._started: Started | None = None
        self._reader: asyncio.Task[None] | None = None
        self._deaths: list[float] = []

    async def start(self) -> None:
        process = (await self._spawn()).process
        if self.child.ready is None:
            return
        ready = asyncio.ensure_future(self.child.ready())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=self.child.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
            elif ended.done():
                raise await self._failed(f"ended ({_how(ended.result())}) before it was ready")
            else:
                raise await self._failed(f"was not ready within {self.child.ready_within_s:g} s")
        finally:
            ready.cancel()
            ended.cancel()

    async def keep(self) -> None:
        """Start the child again whenever it ends; raises `CouldNotRun` when it ended too often."""
        while self._started is not None:
            how = _how(await self._started.process.wait())
            await self._end(0)
            delay = self._next_delay()
            if delay is None:
                raise await self._failed(f"ended by itself ({how}) and was started again {len(self._deaths) - 1} times")
            self._log.say(f"ended by itself ({how}); starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            await self._mend()
            await self._spawn()

    async def _mend(self) -> None:
        if self.child.before_restart is None:
            return
        try:
            async with asyncio.timeout(MEND_S):
                await self.child.before_restart()
        except Exception as error:  # noqa: BLE001  the child is wanted all the same
            self._log.say(f"could not be cleaned up after: {error!r}")

    async def stop(self, hurry: asyncio.Event) -> None:
        """End the child for good, with what it has left anywhere; what it wrote until then is in its log."""
        if self.keeper is not None:
            self.keeper.cancel()
            await asyncio.wait({self.keeper})
        await self._end(self.child.grace_s, hurry)
        await end_marked(self._mark)
        self._log.close()

    async def _spawn(self) -> Started:
        environment = {**self.child.environment, MARK: self._mark}
        try:
            self._started = await start_in_group(self.child.command, environment, self.child.cwd)
        except OSError as error:
            raise CouldNotRun(f"{self.child.name} cannot be started: {error}.") from error
        self._reader = asyncio.create_task(self._log.copy(self._started.output), name=f"log {self.child.name}")
        return self._started

    async def _end(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        if self._started is None:
            return
        await end_group(self._started.process.pid, grace_s, hurry)
        await self._started.process.wait()
        await self._finish_reading()
        self._started.pipe.close()
        self._started = None

    def _next_delay(self) -> float | None:
        now = self._clock()
        recent = [death for death in self._deaths if death >= now - self.child.restarts.within_s]
        self._deaths = [*recent, now]
        return dict(enumerate(self.child.restarts.delays_s)).get(len(recent))

    async def _failed(self, what: str) -> CouldNotRun:
        if self._started is not None and self._started.process.returncode is not None:
            await self._finish_reading()
        tail = "".join(f"\n    {line}" for line in self._log.tail()) or "\n    (it wrote nothing)"
        return CouldNotRun(f"{self.child.name} {what}. Its log is {self._log.path}; the last of it:{tail}")

    async def _finish_reading(self) -> None:
        """Take what the ended child wrote, but wait no longer: what it started may still hold the pipe."""
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=LAST_WORDS_S)
            self._reader.cancel()
            self._reader = None


def _how(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name
