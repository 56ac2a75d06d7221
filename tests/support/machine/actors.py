"""Processes of the made-up world. Each goes on only when it is told to: to its next read, write or effect.

A process is a thread with an event loop of its own, so that it runs the flows as they are; never more than one of them
runs at a time. One that is killed does nothing more, as after kill -9: from then on all that it tries raises `Died`.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect.exceptions import Pause
from sqlmodel import Session

from pipeline.store.engine import Store

P = ParamSpec("P")
T = TypeVar("T")

CURRENT: ContextVar["Actor | None"] = ContextVar("actor", default=None)
"""Who runs just now; None is the test itself, which is never made to wait."""


class Died(BaseException):
    """The process was killed."""


class Actor:
    """One process. `where` is what it is about to do; `silent` tells that its renewals do not get through."""

    def __init__(
        self, pid: int, host: str, boot: str, run_id: str, name: str, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> None:
        self.pid, self.host, self.boot, self.run_id, self.name = pid, host, boot, run_id, name
        self.where = "begin"
        self.silent = self.over = self.suspended = self.cuts_its_next_write = False
        self.began: datetime | None = None
        self._work, self._dead = work, False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._error: BaseException | None = None
        self._thread.start()

    def step(self) -> None:
        """Let it go on. Raises what nobody expected in it: a bug in Orch, or in this world."""
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def die(self) -> None:
        """Have it end here, whatever it is at."""
        self._dead = True
        if not self.over:
            self._go.release()
            self._back.acquire()

    def pause(self, where: str) -> None:
        """Called by the process itself, before whatever others can see or disturb."""
        if self._dead:
            raise Died
        self.where = where
        self._back.release()
        self._go.acquire()
        if self._dead:
            raise Died

    def _live(self) -> None:
        self._go.acquire()
        CURRENT.set(self)
        try:
            if not self._dead:
                asyncio.run(self._work())
        except Died:
            pass
        except Pause:
            self.suspended = True
        except BaseException as error:  # noqa: BLE001  handed to the test
            self._error = None if self._dead else error
        finally:
            self.over = True
            self._back.release()


def pause(where: str) -> None:
    """Have whoever runs just now wait to be told to go on."""
    actor = CURRENT.get()
    if actor is not None:
        actor.pause(where)


class SteppedStore(Store):
    """A store before which every process stops. `witness` hears of each of their writes, before and after it."""

    witness: Callable[[str, tuple[Any, ...]], Callable[[Any], None] | None] | None = None
    written = 0

    def write(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A write; one that is to be cut off is rolled back together with its process."""
        actor = CURRENT.get()
        self.written += 1
        if actor is None:
            return super().write(work, *args, **kwargs)
        actor.pause(f"write: {work.__name__}")
        heard = self.witness(work.__name__, args) if self.witness else None
        if actor.cuts_its_next_write:
            return super().write(_cut_off, work, *args, **kwargs)
        done = super().write(work, *args, **kwargs)
        if heard:
            heard(done)
        return done

    def read(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A read."""
        pause(f"read: {work.__name__}")
        return super().read(work, *args, **kwargs)


def _cut_off(session: Session, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    work(session, *args, **kwargs)
    session.flush()
    raise Died
