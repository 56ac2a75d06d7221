"""Believing that something is dead only when two looks, some time apart, have found it so."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.store.tables import SuspicionRow


def confirmed(
    session: Session, kind: str, subjects: Collection[str], now: datetime, *, after: timedelta
) -> tuple[str, ...]:
    """Of what looks dead now, what looked so `after` ago already; sorted. Who looks alive again is cleared.

    `subjects` is everything of this kind that looks dead at this look.
    """
    prefix = f"{kind}:"
    rows = session.exec(select(SuspicionRow).where(col(SuspicionRow.subject).startswith(prefix, autoescape=True))).all()
    known = {row.subject.removeprefix(prefix): row for row in rows}
    for subject, row in known.items():
        if subject not in subjects:
            session.delete(row)
    for subject in subjects:
        if subject not in known:
            session.add(SuspicionRow(subject=prefix + subject, since=now))
    session.flush()
    return tuple(sorted(s for s in subjects if s in known and now - known[s].since >= after))
