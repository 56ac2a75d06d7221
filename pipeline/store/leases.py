"""Ownership of items: a lease with a random token, renewed by its owner, whose generation fences every write."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.errors import LeaseLost
from pipeline.model import ProcessIdentity, WorkItem
from pipeline.stages import Stage
from pipeline.store.tables import LeaseRow, WorkItemRow

STUCK = timedelta(minutes=5)
"""How long a living process on this host may fail to renew its lease before it is taken for stuck."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns an item just now."""

    item_id: int
    token: str
    flow_run_id: str
    stage: Stage
    process: ProcessIdentity
    expires_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of ownership. `stolen_from` is the dead owner whose lease was taken over, if there was one."""

    item_id: int
    token: str
    generation: int
    flow_run_id: str
    expires_at: datetime
    stolen_from: Owner | None = None


Alive = Callable[[ProcessIdentity], bool | None]
"""Whether a process lives: None when it ran on another host, so that nobody here can tell."""

WentWithItsHost = Callable[[ProcessIdentity], bool]
"""Whether a process died because its host was started anew; False also where nobody here can tell."""


def owner(session: Session, item_id: int) -> Owner | None:
    """The lease row as it stands, dead or alive."""
    row = session.get(LeaseRow, item_id)
    return _owner(row) if row else None


def owners(session: Session) -> list[Owner]:
    """All lease rows."""
    return [_owner(row) for row in session.exec(select(LeaseRow).order_by(col(LeaseRow.item_id))).all()]


def lives(holder: Owner, now: datetime, alive: Alive) -> bool:
    """Whether the owner still counts: its process lives here, or elsewhere has renewed in time.

    A process known to be dead loses its lease at once. One that is known to live but has not renewed for `STUCK` is
    stuck and loses it too; a shorter silence (a suspended machine, a locked database) is forgiven.
    """
    known = alive(holder.process)
    if known is None:
        return holder.expires_at > now
    return known and now - holder.expires_at < STUCK


def claim(
    session: Session,
    item_id: int,
    *,
    flow_run_id: str,
    stage: Stage,
    token: str,
    process: ProcessIdentity,
    now: datetime,
    ttl: float,
    alive: Alive,
) -> Lease | Owner:
    """Take the item, or learn who lives on it. A dead owner's lease is taken over; the generation always rises."""
    item = session.exec(
        select(WorkItemRow).where(WorkItemRow.id == item_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    held = session.get(LeaseRow, item_id)
    if held is not None and lives(_owner(held), now, alive):
        return _owner(held)
    stolen_from = _owner(held) if held else None
    if held is not None:
        session.delete(held)
        session.flush()
    item.lease_generation += 1
    row = LeaseRow(
        item_id=item_id,
        token=token,
        generation=item.lease_generation,
        flow_run_id=flow_run_id,
        stage=stage,
        host=process.host,
        boot=process.boot,
        pid=process.pgid,
        process_started=process.started,
        acquired_at=now,
        expires_at=now + timedelta(seconds=ttl),
    )
    session.add(item)
    session.add(row)
    return Lease(item_id, token, row.generation, flow_run_id, row.expires_at, stolen_from)


def renew(session: Session, lease: Lease, *, now: datetime, ttl: float) -> bool:
    """Prolong the lease; False when it is somebody else's by now."""
    row = session.exec(select(LeaseRow).where(LeaseRow.item_id == lease.item_id).with_for_update()).first()
    if row is None or row.token != lease.token:
        return False
    row.expires_at = now + timedelta(seconds=ttl)
    session.add(row)
    return True


def release(session: Session, item_id: int, token: str) -> bool:
    """Give the item up; only the token's own lease is ever deleted. Idempotent."""
    row = session.exec(select(LeaseRow).where(LeaseRow.item_id == item_id).with_for_update()).first()
    if row is None or row.token != token:
        return False
    session.delete(row)
    return True


def drop(session: Session, item_id: int) -> None:
    """Take away whatever lease the item has: it has ended, and nobody will claim it again. Idempotent."""
    row = session.get(LeaseRow, item_id)
    if row is not None:
        session.delete(row)


def check(session: Session, item: WorkItem, token: str | None, now: datetime) -> None:
    """Raise `LeaseLost` unless `token` owns the item; without a token nobody may own it at all."""
    row = session.exec(select(LeaseRow).where(LeaseRow.item_id == item.id).with_for_update()).first()
    if token is None:
        if row is not None and row.expires_at > now:
            raise LeaseLost(f"{item.key} is being worked on by run {row.flow_run_id}; this write must wait for it.")
        return
    if row is None or row.token != token:
        raise LeaseLost(f"{item.key} was taken over by another run; this one stops without writing.")


def _owner(row: LeaseRow) -> Owner:
    return Owner(
        item_id=row.item_id,
        token=row.token,
        flow_run_id=row.flow_run_id,
        stage=Stage(row.stage),
        process=ProcessIdentity(row.host, row.boot, row.pid, row.process_started),
        expires_at=row.expires_at,
        since=row.acquired_at,
    )
