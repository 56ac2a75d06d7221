"""A run listens for STOP itself: it ends with its agents within a second or two of a person's word.

The flow `stop` comes later, through Prefect and a new process, and finds the rest to do; where Prefect or a worker is
away, what works on the item has ended all the same.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlmodel import Session

from pipeline.clients.process_identity import identity, kill_group
from pipeline.model import ProcessIdentity, WorkItem
from pipeline.store import evidence, items, leases
from pipeline.store.leases import Lease
from tasks import ownership, prefect_api, stopping
from tasks.services import Services

log = logging.getLogger("orch.stop_listener")

LOOK_S = 1.0

TELL_S = 2.0
"""How long Prefect may take to hear of it."""


@contextmanager
def listening(root: Services, claimed: ownership.Claimed) -> Iterator[None]:
    """While the body works on the item: TERM, then KILL, for its agents and KILL for this process once it is stopped.

    Not while anything is under way that cannot be undone, nor after the item has landed: that goes on, and the flow
    `stop` says so. A store that cannot be read for a moment is read again.
    """
    done = threading.Event()

    def listen() -> None:
        while not done.wait(LOOK_S):
            try:
                agents = root.store.read(_to_be_ended, claimed.item, claimed.lease)
                if agents is not None and not done.is_set():
                    _end(root, claimed, agents)
            except Exception:  # the thread must live on; what it cannot do, the flow `stop` does
                log.exception("%s: whether it was stopped could not be looked at", claimed.item.key)

    thread = threading.Thread(target=listen, name=f"stop-{claimed.item.key}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _to_be_ended(session: Session, item: WorkItem, lease: Lease) -> list[ProcessIdentity] | None:
    """The agents' processes on this host, when the item was stopped and its run may end at once; else None."""
    found, owner = items.latest(session, item.key), leases.owner(session, item.id)
    if found is None or found.id != item.id or owner is None or owner.token != lease.token:
        return None
    if found.cancel_requested_at is None or found.landed is not None or stopping.begun(session, found):
        return None
    running = [run.process for run in evidence.unfinished_agent_runs(session, item.id)]
    return [process for process in running if process is not None and process.host == socket.gethostname()]


def _end(root: Services, claimed: ownership.Claimed, agents: list[ProcessIdentity]) -> None:
    log.warning("%s was stopped: its run ends here", claimed.item.key)
    telling = threading.Thread(target=_tell_prefect, args=(claimed,), daemon=True)
    telling.start()
    for process in agents:
        kill_group(process, grace_s=stopping.GRACE_S)
    telling.join(TELL_S)
    ownership.end_process(root, identity(os.getpid()))


def _tell_prefect(claimed: ownership.Claimed) -> None:
    """Have Prefect call the run cancelled before its process is gone, or it calls it crashed and people are alarmed."""
    try:
        asyncio.run(prefect_api.cancel(claimed.lease.flow_run_id, f"{claimed.item.key} was stopped."))
    except Exception:  # a Prefect that is away keeps nothing from ending
        log.warning("%s: Prefect could not be told that its run was stopped", claimed.item.key, exc_info=True)
