"""How often things have happened: totals that only rise, for `/queue` and `/metrics`."""

from collections.abc import Mapping

from sqlmodel import Session, col, select

from pipeline.store.tables import CounterRow

TICKS = "ticks_total"
"""Ticks of the reconciler that came to their end."""

DEDUPED = "deduped_total"
"""Changes that polling met and that brought nothing which had not been heard of before."""

SKIPPED_TERMINAL = "skipped_terminal_total"
"""Moves that polling met, of cards and pull requests whose items have ended."""

REPLAYED = "replayed_total"
"""Signals that no webhook had brought."""

LEFT_ALONE = "left_alone_total"
"""Items that were due and whose cards a person keeps aside, or whose cards could not be read."""

STARTED = "started_total"
"""Stages that the tick started by itself."""

RECLAIMED = "reclaimed_total"
"""Items that were taken from dead owners."""

FREED = "freed_slots_total"
"""Merge locks that nobody held any more."""

NAMES = (TICKS, DEDUPED, SKIPPED_TERMINAL, REPLAYED, LEFT_ALONE, STARTED, RECLAIMED, FREED)


def count(session: Session, name: str, by: int = 1) -> None:
    """Add to a total. Not idempotent: part of the transaction that does what is counted."""
    row = session.exec(select(CounterRow).where(CounterRow.name == name).with_for_update()).first()
    row = row or CounterRow(name=name)
    row.value += by
    session.add(row)
    session.flush()


def totals(session: Session) -> Mapping[str, int]:
    """All totals; what never happened is 0."""
    found = {row.name: row.value for row in session.exec(select(CounterRow).order_by(col(CounterRow.name))).all()}
    return {name: found.get(name, 0) for name in NAMES}
