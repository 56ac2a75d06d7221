"""The one live message about each item: where it is, what it says, and who is writing to it just now."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.store.items import lock
from pipeline.store.tables import CardRow

TAKEN = timedelta(seconds=60)
"""How long a writer has the card for itself; one that died loses it after that."""


@dataclass(frozen=True, slots=True)
class Card:
    """An item's live message. `message` is the messenger's reference, None before the first one was sent."""

    item_id: int
    message: str | None
    says: str


def take(session: Session, item_id: int, now: datetime) -> Card | None:
    """The item's card, for this writer alone until it is put back; None while another one has it."""
    lock(session, item_id)
    row = session.get(CardRow, item_id, populate_existing=True) or CardRow(item_id=item_id)
    if row.taken_until is not None and row.taken_until > now:
        return None
    row.taken_until = now + TAKEN
    session.add(row)
    return Card(item_id, row.message, row.says)


def point(session: Session, card: Card) -> None:
    """The card is this message now, and says this."""
    row = session.get_one(CardRow, card.item_id)
    row.message, row.says = card.message, card.says
    session.add(row)


def put_back(session: Session, item_id: int) -> None:
    """Let the next writer have the card. Idempotent."""
    row = session.get_one(CardRow, item_id)
    row.taken_until = None
    session.add(row)


def find(session: Session, item_id: int) -> Card | None:
    """The item's card, without taking it."""
    row = session.get(CardRow, item_id)
    return Card(item_id, row.message, row.says) if row else None
