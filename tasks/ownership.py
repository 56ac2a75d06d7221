"""Owning an item while a run works on it: claimed on entry, renewed from a thread, given back at the end.

Failures are counted at entry: a run that ends in order takes its count back, so one that was killed has counted
itself, whatever killed it.
"""

import contextlib
import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline import decide
from pipeline.clients.process_identity import identity
from pipeline.errors import LeaseLost
from pipeline.messages import Texts
from pipeline.model import Hold, ProcessIdentity, WaitKind, WorkItem
from pipeline.outcomes import Block, WaitFor
from pipeline.stages import Stage
from pipeline.store import admission, crashes, drains, items, leases, outbox, reactions, waits
from pipeline.store.engine import Store
from pipeline.store.leases import Lease, Owner
from tasks import entrance
from tasks.services import Services

log = logging.getLogger("orch.ownership")


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why this run has nothing to do; `name` is what Prefect shows as the state's name."""

    name: str
    sentence: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The item is this run's to work on."""

    item: WorkItem
    lease: Lease


def claim(root: Services, key: str, stage: Stage, run_id: str, *, gone: str | None = None) -> Claimed | NotNow:
    """Take the item for this stage, or say why not. Blocks on the database: call it from a thread.

    `gone` is a run that is known never to go on: that the item waits for a person in it keeps nobody out.
    """
    token, process = secrets.token_hex(8), identity(os.getpid())
    return root.store.write(_claim, root, key, stage, run_id=run_id, gone=gone, token=token, process=process)


def _claim(
    session: Session,
    root: Services,
    key: str,
    stage: Stage,
    *,
    run_id: str,
    gone: str | None,
    token: str,
    process: ProcessIdentity,
) -> Claimed | NotNow:
    now = root.now()
    item = items.latest(session, key)
    if item is None:
        return NotNow("No such work item", f"There is no work item {key}; move its card to To Analyse to start it.")
    item = items.snapshot(
        items.lock(session, item.id)
    )  # what others have committed before counts, and nothing comes between
    if item.stage is not stage:
        return NotNow("Not at this stage", f"{key} is at {item.stage}, not at {stage}: nothing to do.")
    if (held := decide.held_because(item)) is not None:
        return NotNow("Held", held)
    if (draining := drains.in_the_way(session, key, now)) is not None:
        return NotNow("Draining", draining)
    if (broken := crashes.broken(session, item.project)) is not None:
        return NotNow("Frozen", f"{broken.sentence}; `orch thaw {item.project}` lets it go on.")
    if (waiting := _waits_elsewhere(session, item, run_id, gone)) is not None:
        return NotNow("Waits in another run", f"{key} waits for a person in run {waiting}, which goes on with it.")
    alive = root.alive if root.settings.transition_lease_enabled else _nobody_lives
    lease = leases.claim(
        session, item.id, flow_run_id=run_id, stage=stage, token=token, process=process, now=now,
        ttl=root.settings.lease_ttl_s, alive=alive,
    )  # fmt: skip
    if isinstance(lease, Owner):
        return NotNow("Owned by another run", f"Run {lease.flow_run_id} works on {key} already.", lease.flow_run_id)
    if lease.stolen_from is not None and root.went_with_its_host(lease.stolen_from.process):
        item = crashes.forgive(session, lease.stolen_from, now, root.texts)
    if item.not_before is not None and now < item.not_before:
        leases.release(session, item.id, lease.token)
        return NotNow(
            "Backing off", f"{key} crashed {item.failures} times at {stage}; not before {item.not_before:%H:%M:%S}."
        )
    by = entrance.rules(root, item.project)
    kept = admission.admit(session, item, limit=by.limit, sources=by.sources, now=now)
    if kept is not None:
        leases.release(session, item.id, lease.token)
        return _keep_out(session, root, item, kept, run_id)
    _let_in(session, item, now)
    return _enter(session, item, lease, now, root.settings.crash_backoff_s, root.texts)


def _waits_elsewhere(session: Session, item: WorkItem, run_id: str, gone: str | None) -> str | None:
    """The other run in which the item waits for a person: a second one would only take the question from it."""
    wait = waits.open_wait(session, item.id)
    if wait is None or not wait.kind.human or wait.flow_run_id in (run_id, gone):
        return None
    return wait.flow_run_id


def _nobody_lives(_process: ProcessIdentity) -> bool:
    """With ownership switched off every lease may be taken over; its owner's next write finds out."""
    return False


def _keep_out(session: Session, root: Services, item: WorkItem, kept: WaitFor | Block, run_id: str) -> NotNow:
    """Write down what the item waits for; the run ends, and the event that ends the wait starts another."""
    now, settings = root.now(), root.settings
    if isinstance(kept, Block):
        reactions.hold(session, item, Hold.BLOCKED, kept.why, now, root.texts)
        return NotNow("Blocked", kept.why)
    waits.begin(
        session,
        item,
        kept.kind,
        key=f"{kept.kind}-{item.id}-{item.version}-{run_id}",
        sentence=kept.sentence,
        now=now,
        flow_run_id=run_id,
        deadline=now + timedelta(seconds=settings.person_deadline_s),
        look_again_at=now + timedelta(seconds=settings.ci_look_again_s),
    )
    outbox.status(session, item.key, now)
    return NotNow(f"Waiting for {KEPT_OUT[kept.kind]}", kept.sentence)


def _let_in(session: Session, item: WorkItem, now: datetime) -> None:
    """What kept the item out is over; while it is worked on nobody is to be told that it waits."""
    wait = waits.open_wait(session, item.id)
    if wait is not None and wait.kind in KEPT_OUT:
        waits.close(session, item.id, "it was let in", now)
        outbox.status(session, item.key, now)


KEPT_OUT = {WaitKind.DEPENDENCY: "what it depends on", WaitKind.SERIAL: "a place in its project"}
"""What an item waits for that may not enter its stage yet, as Prefect's state is named."""


def _enter(
    session: Session, item: WorkItem, lease: Lease, now: datetime, backoff: tuple[float, ...], texts: Texts
) -> Claimed | NotNow:
    if item.failures > len(backoff):
        why = f"Its run at {item.stage} has died {item.failures} times in a row."
        leases.release(session, item.id, lease.token)
        reactions.hold(session, item, Hold.ESCALATED, why, now, texts)
        return NotNow("Escalated", f"{item.key} is escalated: {why}")
    if item.failures:
        html = texts("recovered", key=item.key, title=item.title, stage=item.stage)
        reactions.say(session, item.key, html, f"recovered:{item.id}:{item.version}:{item.failures}", now)
        if crashes.count(session, item, now):
            return _broken(session, item, lease, now, texts)
    pause = backoff[min(item.failures, len(backoff) - 1)] if backoff else 0
    entered = items.update(
        session, item, lease.token, now, failures=item.failures + 1, not_before=now + timedelta(seconds=pause)
    )
    return Claimed(entered, lease)


def _broken(session: Session, item: WorkItem, lease: Lease, now: datetime, texts: Texts) -> NotNow:
    """The project's breaker has opened by this item's death: nothing of it starts until a person thaws it."""
    leases.release(session, item.id, lease.token)
    html = texts("project_frozen", project=item.project, key=item.key, title=item.title)
    reactions.say(session, item.key, html, f"frozen:{item.project}:{now.isoformat()}", now)
    return NotNow("Frozen", f"The runs of {item.project} die again and again; it is frozen until a person thaws it.")


def release(store: Store, claimed: Claimed, now: datetime, *, in_order: bool) -> None:
    """Give the item up; in order, the failure that was counted at entry is taken back. Idempotent."""
    store.write(_release, claimed, now, in_order)


def _release(session: Session, claimed: Claimed, now: datetime, in_order: bool) -> None:
    try:
        if in_order:
            items.update(session, claimed.item, claimed.lease.token, now, failures=0, not_before=None)
    except LeaseLost:
        return  # whoever took the item over counts for himself
    leases.release(session, claimed.lease.item_id, claimed.lease.token)


@contextmanager
def renewed(root: Services, lease: Lease) -> Iterator[None]:
    """Renew the lease from a thread while the body runs; a database that is away for a moment is tried again."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(root.settings.lease_renew_s):
            try:
                if not root.store.write(leases.renew, lease, now=root.now(), ttl=root.settings.lease_ttl_s):
                    return  # taken over: the next write of this run finds out
            except Exception:  # the thread must live on; an expired lease is found out at the next write
                log.exception("the lease of item %s could not be renewed", lease.item_id)

    thread = threading.Thread(target=renew, name=f"lease-{lease.item_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_process(root: Services, process: ProcessIdentity) -> None:
    """End the one process of a run at once, if it lives on this host: the store needs no good-bye. Idempotent."""
    if root.alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pgid, signal.SIGKILL)
