"""The outbox: what must follow a write, stored in the write's own transaction and sent until it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from pipeline import signals
from pipeline.stages import Stage
from pipeline.store.known import one_of
from pipeline.store.tables import OutboxRow

CLAIM = timedelta(seconds=60)
"""How long a sender has a row for itself."""

LONG_CLAIM = timedelta(seconds=150)
"""The same of what is there twice when two send it: longer than two calls to a slow Telegram take."""

SETTLE = timedelta(seconds=0.7)
"""How long the announcement of a new stage is held back: the run that made it is about to end and to write its end."""

CARD_PAUSE = timedelta(seconds=1)
"""How long news for an item's live message are collected: Telegram takes about one call a second for a chat."""

ANNOUNCED = timedelta(seconds=60)
"""How long the announcement of a stage that still waits to be sent is believed to start it."""

ARRIVES = timedelta(seconds=5)
"""How long it may take from the announcement of a stage that was sent to its run."""

BACK_OFF = (2, 10, 30, 120)
"""Seconds until a row that could not be sent is tried again, by the number of tries; the last repeats.

It is also how long people see an old state on their cards once a neighbour is back.
"""


REFUSED = "refused"
"""In a status letter: the card that was not let in, of which there is no item."""


class Kind(StrEnum):
    """What is sent where."""

    EVENT = "event"
    COMMENT = "comment"
    STATUS = "status"
    MESSAGE = "message"
    CARD = "card"
    PRESSED = "pressed"
    PULL = "pull"


ONCE = (Kind.MESSAGE, Kind.CARD)
"""Kinds that Telegram would show twice when they were sent twice; of all others the second is as good as none."""

REPEATABLE = tuple(kind for kind in Kind if kind not in ONCE)


@dataclass(frozen=True, slots=True)
class Letter:
    """One row to be sent."""

    id: int
    kind: Kind
    item_key: str
    payload: Mapping[str, Any]
    tries: int


def put(
    session: Session,
    kind: Kind,
    item_key: str,
    payload: Mapping[str, Any],
    now: datetime,
    *,
    dedupe: str | None = None,
    pause: timedelta = timedelta(0),
) -> bool:
    """Put a letter into the box; False when one with the same `dedupe` was ever put there."""
    if dedupe is not None and session.exec(select(OutboxRow.id).where(OutboxRow.dedupe == dedupe)).first():
        return False
    session.add(
        OutboxRow(
            kind=kind, item_key=item_key, payload=dict(payload), created_at=now, not_before=now + pause, dedupe=dedupe
        )
    )
    session.flush()
    return True


def event(
    session: Session,
    name: str,
    item_key: str,
    now: datetime,
    *,
    stage: Stage | None = None,
    resume: str | None = None,
) -> bool:
    """Announce something about an item to Prefect; False when the same announcement still waits to be sent.

    `resume` is the id of the suspended run that the event is for.
    """
    payload = {"event": name, "work_item": item_key, "stage": stage, "resume": resume}
    waiting = session.exec(
        select(OutboxRow).where(
            OutboxRow.kind == Kind.EVENT, OutboxRow.item_key == item_key, col(OutboxRow.sent_at).is_(None)
        )
    ).all()
    if any(row.payload == payload for row in waiting):
        return False
    return put(
        session, Kind.EVENT, item_key, payload, now, pause=SETTLE if name == signals.STAGE_ENTERED else timedelta(0)
    )


def wake(session: Session, item_key: str, now: datetime) -> bool:
    """Announce that something about the item may have changed."""
    return event(session, signals.WAKE, item_key, now)


def enter(session: Session, item_key: str, stage: Stage, now: datetime) -> bool:
    """Announce that the item stands at `stage`, which starts that stage's flow."""
    return event(session, signals.STAGE_ENTERED, item_key, now, stage=stage)


def enters(session: Session, item_key: str, stage: Stage, now: datetime) -> bool:
    """Whether an announcement is about to start this stage, so that nobody else has to."""
    query = select(OutboxRow).where(
        OutboxRow.kind == Kind.EVENT,
        OutboxRow.item_key == item_key,
        col(OutboxRow.created_at) > now - ANNOUNCED,
        or_(col(OutboxRow.sent_at).is_(None), col(OutboxRow.sent_at) > now - ARRIVES),
    )
    return any(
        (row.payload["event"], row.payload["stage"]) == (signals.STAGE_ENTERED, stage)
        for row in session.exec(query).all()
    )


def status(session: Session, item_key: str, now: datetime) -> bool:
    """Have the item's card in the tracker, and its live message, show what is true when the letters are sent."""
    live_card(session, item_key, now)
    return False if _waits(session, Kind.STATUS, item_key) else put(session, Kind.STATUS, item_key, {}, now)


def live_card(session: Session, item_key: str, now: datetime) -> bool:
    """Have the item's live message show what is true when the letter is sent."""
    waits = _waits(session, Kind.CARD, item_key)
    return False if waits else put(session, Kind.CARD, item_key, {}, now, pause=CARD_PAUSE)


def landed(session: Session, item_key: str, pull: int, commit: str, now: datetime) -> bool:
    """Have pull request `pull` show that its change has landed as `commit`: once, however long the forge stays away."""
    return put(
        session, Kind.PULL, item_key, {"pull": pull, "commit": commit}, now, dedupe=f"pull:{pull}:{item_key}:{commit}"
    )


def _waits(session: Session, kind: Kind, item_key: str) -> bool:
    """Whether a letter of this kind is in the box that nobody is sending yet: one for an item is enough.

    One about a card that was refused says nothing about the item which that card has become since.
    """
    payloads = session.exec(
        select(OutboxRow.payload).where(
            OutboxRow.kind == kind,
            OutboxRow.item_key == item_key,
            col(OutboxRow.sent_at).is_(None),
            col(OutboxRow.claimed_until).is_(None),
        )
    ).all()
    return any(REFUSED not in payload for payload in payloads)


def claim(
    session: Session,
    now: datetime,
    *,
    limit: int = 50,
    item_key: str | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
) -> list[Letter]:
    """Take letters that are due and that this version can send, oldest first; nobody else gets them for their `CLAIM`."""
    query = (
        select(OutboxRow)
        .where(
            col(OutboxRow.sent_at).is_(None),
            one_of(OutboxRow.kind, kinds),
            col(OutboxRow.not_before) <= now,
            or_(col(OutboxRow.claimed_until).is_(None), col(OutboxRow.claimed_until) < now),
        )
        .order_by(col(OutboxRow.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if item_key is not None:
        query = query.where(OutboxRow.item_key == item_key)
    rows = session.exec(query).all()
    for row in rows:
        row.claimed_until = now + (LONG_CLAIM if row.kind in ONCE else CLAIM)
        session.add(row)
    return [Letter(row.id or 0, Kind(row.kind), row.item_key, dict(row.payload), row.tries) for row in rows]


def sent(session: Session, letter_id: int, now: datetime) -> None:
    """The letter went. Idempotent."""
    row = session.get(OutboxRow, letter_id)
    if row is not None:
        row.sent_at, row.last_error = now, ""
        session.add(row)


def failed(session: Session, letter_id: int, error: str, now: datetime, *, wait_s: float | None = None) -> None:
    """The letter could not be sent now; it is tried again after a pause, of `wait_s` seconds at least."""
    row = session.get(OutboxRow, letter_id)
    if row is not None:
        pause = max(BACK_OFF[min(row.tries, len(BACK_OFF) - 1)], wait_s or 0)
        row.tries += 1
        row.last_error, row.claimed_until = error[:500], None
        row.not_before = now + timedelta(seconds=pause)
        session.add(row)


def refused(session: Session, letter_id: int, error: str, now: datetime) -> None:
    """The other side will never take the letter: it counts as dealt with, and the reason is kept."""
    row = session.get(OutboxRow, letter_id)
    if row is not None:
        row.sent_at, row.last_error = now, f"refused: {error[:500]}"
        session.add(row)


def unsent(session: Session) -> int:
    """How many letters wait."""
    return session.exec(select(func.count()).select_from(OutboxRow).where(col(OutboxRow.sent_at).is_(None))).one()
