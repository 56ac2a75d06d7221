"""How long STOP takes: from the moment it is on record until nothing that worked on the item lives any more."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from sqlmodel import Session

from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import evidence, items, leases
from pipeline.store.engine import Store
from tasks import stopping

LOOK_S = 0.2


@dataclass
class Stops:
    """Watches every item that was stopped, from a thread of its own.

    `took_s` are the seconds of those on which somebody was at work; `waited_s` of those that were about to land or to
    deploy, which STOP waits for; `lifted` those that had landed and went on, `idle` those on which nobody worked.
    """

    store: Store
    worktrees: Path
    took_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    lifted: int = 0
    idle: int = 0
    _at_work: dict[int, list[psutil.Process]] = field(default_factory=dict)
    _waits: set[int] = field(default_factory=set)
    _asked: dict[int, datetime] = field(default_factory=dict)
    _over: set[int] = field(default_factory=set)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the body runs."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(LOOK_S):
                self._look()

        thread = threading.Thread(target=watch, name="stops", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _look(self) -> None:
        now = datetime.now(UTC)
        for item, unended in self.store.read(_all):
            if item.id in self._over:
                continue
            if item.cancel_requested_at is not None:
                self._stopped(item)
            elif item.id in self._asked and not item.stage.terminal:
                self._ends(item, now, lifted=True)
                continue
            if unended and item.id in self._asked:
                self._waits.add(item.id)
            if item.id in self._asked and not any(_lives(process) for process in self._at_work[item.id]):
                self._ends(item, now)

    def _stopped(self, item: WorkItem) -> None:
        if item.id in self._asked or item.cancel_requested_at is None:
            return
        self._asked[item.id] = item.cancel_requested_at
        self._at_work[item.id] = self._found(item)

    def _ends(self, item: WorkItem, now: datetime, *, lifted: bool = False) -> None:
        self._over.add(item.id)
        seconds = (now - self._asked[item.id]).total_seconds()
        if lifted:
            self.lifted += 1
        elif not self._at_work[item.id]:
            self.idle += 1
        else:
            (self.waited_s if item.id in self._waits else self.took_s).append(seconds)

    def _found(self, item: WorkItem) -> list[psutil.Process]:
        """The item's run, its agents, whatever works in its worktree, and all that these have started."""
        owner = self.store.read(leases.owner, item.id)
        runs = self.store.read(evidence.unfinished_agent_runs, item.id)
        known = [run.process for run in runs] + [
            owner.process if owner and owner.stage is not Stage.CANCELLED else None
        ]
        roots = [psutil.Process(who.pgid) for who in known if who is not None and psutil.pid_exists(who.pgid)]
        worktree = self.worktrees / item.project / item.key
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(worktree):
                    roots.append(process)
        found = {process.pid: process for process in roots}
        for process in roots:
            with contextlib.suppress(psutil.Error):
                found |= {child.pid: child for child in process.children(recursive=True)}
        return list(found.values())


def _all(session: Session) -> list[tuple[WorkItem, bool]]:
    return [(item, bool(stopping.begun(session, item))) for item in items.all_items(session)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
