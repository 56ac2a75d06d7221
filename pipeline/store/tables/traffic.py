"""What comes in and goes out: deliveries, signals, letters, cards, and what was last seen outside."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from pipeline.store.tables.columns import a_time, as_json, maybe_a_time


class DeliveryRow(SQLModel, table=True):
    """One webhook as it arrived; the digest makes a repeated one known."""

    __tablename__ = "deliveries"

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    source: str
    event: str
    body: str
    received_at: datetime = a_time(index=True)
    resolved_at: datetime | None = maybe_a_time(index=True)
    note: str = ""
    inbound: list[dict[str, Any]] = as_json(list)


class SignalRow(SQLModel, table=True):
    """What a delivery means to an item; consumed in the transaction that applies it."""

    __tablename__ = "signals"

    id: int | None = Field(default=None, primary_key=True)
    delivery_id: int | None = Field(default=None, foreign_key="deliveries.id", index=True)
    project: str
    item_key: str = Field(index=True)
    signal: str
    actor: str
    payload: dict[str, Any] = as_json(dict)
    received_at: datetime = a_time()
    published_at: datetime | None = maybe_a_time()
    published: int = 0
    consumed_at: datetime | None = maybe_a_time(index=True)
    consequence: str = ""


class OutboxRow(SQLModel, table=True):
    """What must follow a write: an event, a comment, a message, a status; sent afterwards, and again until it went."""

    __tablename__ = "outbox"

    id: int | None = Field(default=None, primary_key=True)
    dedupe: str | None = Field(default=None, unique=True)
    kind: str
    item_key: str = Field(index=True)
    payload: dict[str, Any] = as_json(dict)
    created_at: datetime = a_time()
    not_before: datetime = a_time(index=True)
    claimed_until: datetime | None = maybe_a_time()
    sent_at: datetime | None = maybe_a_time(index=True)
    tries: int = 0
    last_error: str = ""


class CardRow(SQLModel, table=True):
    """The one live message about an item: where it is, and a fingerprint of what it says."""

    __tablename__ = "cards"

    item_id: int = Field(foreign_key="work_items.id", primary_key=True, sa_column_kwargs={"autoincrement": False})
    message: str | None = None
    says: str = ""
    taken_until: datetime | None = maybe_a_time()


class SightingRow(SQLModel, table=True):
    """How a card or a pull request stood when Orch last heard of it: by webhook, by polling or by its own hand."""

    __tablename__ = "sightings"

    place: str = Field(primary_key=True)
    thing: str = Field(primary_key=True)
    state: str
    changed_at: datetime | None = maybe_a_time()
    polled: bool = False


class WatermarkRow(SQLModel, table=True):
    """Up to which of an outside system's own times its changes have been looked through."""

    __tablename__ = "watermarks"

    name: str = Field(primary_key=True)
    at: datetime = a_time()
