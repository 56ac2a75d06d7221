"""What items depend on. Work items are judged by their own rows, other issues by the tracker's group as last heard."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.entry import Blocker
from pipeline.model import WaitKind
from pipeline.stages import Stage
from pipeline.store import outbox
from pipeline.store.tables import DependencyRow, WaitRow, WorkItemRow

BY_HAND, FROM_TRACKER = "db", "plane"
"""Where a dependency comes from: `orch depend`, or the card's relations."""

TERMINAL = frozenset(stage.value for stage in Stage if stage.terminal)

ENDED_GROUPS = ("completed", "cancelled")
"""Plane's state groups of issues that keep nobody waiting."""


def add(session: Session, key: str, on: str, source: str, now: datetime, *, group: str = "") -> bool:
    """Have `key` wait for `on`; False when it does already. One that was entered by hand stays so."""
    row = _one(session, key, on)
    if row is None:
        session.add(DependencyRow(item_key=key, blocked_by=on, source=source, group=group, at=now))
        session.flush()
        return True
    row.group = group or row.group
    row.source = row.source if row.source == BY_HAND else source
    session.add(row)
    return False


def remove(session: Session, key: str, on: str, now: datetime) -> bool:
    """Have `key` wait for `on` no longer, and look again; False when it did not."""
    row = _one(session, key, on)
    if row is None:
        return False
    session.delete(row)
    session.flush()
    _wake(session, [key], now)
    return True


def replace(session: Session, key: str, blockers: Mapping[str, str], now: datetime) -> None:
    """Make what the tracker says (blocker -> state group, empty when unknown) all that it has said so far."""
    for row in _rows(session, key, (FROM_TRACKER,)):
        if row.blocked_by not in blockers:
            session.delete(row)
    session.flush()
    for on, group in blockers.items():
        add(session, key, on, FROM_TRACKER, now, group=group)


def of_item(session: Session, key: str, sources: Sequence[str]) -> tuple[str, ...]:
    """The keys that `key` depends on, whatever has become of them."""
    return tuple(row.blocked_by for row in _rows(session, key, sources))


def strangers(session: Session, key: str, sources: Sequence[str]) -> tuple[str, ...]:
    """Those of them that are no work items and have not ended as far as is known."""
    rows = _rows(session, key, sources)
    return tuple(row.blocked_by for row in rows if _stage(session, row.blocked_by) is None and _open_card(row))


def unfinished(session: Session, key: str, sources: Sequence[str]) -> tuple[Blocker, ...]:
    """What `key` has to wait for. An issue of which nothing is known keeps nobody waiting."""
    found = []
    for row in _rows(session, key, sources):
        stage = _stage(session, row.blocked_by)
        if stage is None and _open_card(row):
            found.append(Blocker(row.blocked_by, f"{row.group} in the tracker"))
        elif stage is not None and stage not in TERMINAL:
            found.append(Blocker(row.blocked_by, f"at {stage}"))
    return tuple(found)


def cycle(session: Session, key: str, sources: Sequence[str], *, on: str | None = None) -> tuple[str, ...]:
    """A way from `key` back to itself along unfinished dependencies, both ends included; empty when there is none.

    `on` is taken for a dependency of `key`, so that one can be tried before it is entered.
    """
    paths: list[tuple[str, ...]] = [(key,)]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        ahead = [blocker.key for blocker in unfinished(session, path[-1], sources)]
        for following in (*ahead, *((on,) if on and path == (key,) else ())):
            if following == key:
                return (*path, key)
            if following not in seen:
                seen.add(following)
                paths.append((*path, following))
    return ()


def waited_for(session: Session, keys: Sequence[str], sources: Sequence[str]) -> frozenset[str]:
    """What these items have to wait for, themselves or through others."""
    found: set[str] = set()
    ahead = list(keys)
    while ahead:
        blockers = {blocker.key for blocker in unfinished(session, ahead.pop(), sources)} - found
        found |= blockers
        ahead += blockers
    return frozenset(found)


def wake_dependents(session: Session, key: str, now: datetime) -> None:
    """`key` has ended: have those that wait for it look again."""
    _wake(session, session.exec(select(DependencyRow.item_key).where(DependencyRow.blocked_by == key)).all(), now)


def tracker_moved(session: Session, key: str, group: str, now: datetime) -> None:
    """The card of `key` now stands in this state group; whoever waits for one that is out of the way looks again."""
    rows = session.exec(select(DependencyRow).where(DependencyRow.blocked_by == key)).all()
    for row in rows:
        row.group = group
        session.add(row)
    if group in ("", *ENDED_GROUPS):
        _wake(session, [row.item_key for row in rows], now)


def relations_as_of(session: Session, item_id: int) -> datetime | None:
    """The card's time of change when its relations were last read; None when they never were."""
    return session.exec(select(WorkItemRow.relations_as_of).where(WorkItemRow.id == item_id)).one()


def _wake(session: Session, keys: Sequence[str], now: datetime) -> None:
    waiting = session.exec(
        select(WorkItemRow.key)
        .join(WaitRow, col(WaitRow.item_id) == WorkItemRow.id)
        .where(col(WorkItemRow.key).in_(keys), WaitRow.kind == WaitKind.DEPENDENCY, col(WaitRow.closed_at).is_(None))
        .order_by(col(WaitRow.id))
    ).all()
    for key in waiting:
        outbox.wake(session, key, now)


def _open_card(row: DependencyRow) -> bool:
    return row.group not in ("", *ENDED_GROUPS)


def _stage(session: Session, key: str) -> str | None:
    """Where the latest work item with this key stands; None when there never was one."""
    return session.exec(
        select(WorkItemRow.stage).where(WorkItemRow.key == key).order_by(col(WorkItemRow.id).desc())
    ).first()


def _one(session: Session, key: str, on: str) -> DependencyRow | None:
    return session.exec(
        select(DependencyRow).where(DependencyRow.item_key == key, DependencyRow.blocked_by == on)
    ).first()


def _rows(session: Session, key: str, sources: Sequence[str]) -> Sequence[DependencyRow]:
    return session.exec(
        select(DependencyRow)
        .where(DependencyRow.item_key == key, col(DependencyRow.source).in_(sources))
        .order_by(col(DependencyRow.id))
    ).all()
