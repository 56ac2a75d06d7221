"""What keeps everything going: leases, counters, heartbeats, crashes, freezes, drains."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from pipeline.store.tables.columns import a_time, maybe_a_time


class LeaseRow(SQLModel, table=True):
    """Which run owns an item; the token's generation fences stage writes and effects."""

    __tablename__ = "leases"

    item_id: int = Field(foreign_key="work_items.id", primary_key=True)
    token: str
    generation: int
    flow_run_id: str
    stage: str
    host: str
    boot: str
    pid: int
    process_started: float
    acquired_at: datetime = a_time()
    expires_at: datetime = a_time()


class FreezeRow(SQLModel, table=True):
    """While there is one, nothing of the project lands or is deployed; an empty project means all of them."""

    __tablename__ = "freezes"

    project: str = Field(primary_key=True)
    actor: str
    why: str
    since: datetime = a_time()


class CounterRow(SQLModel, table=True):
    """How often something has happened since the database was made."""

    __tablename__ = "counters"

    name: str = Field(primary_key=True)
    value: int = 0


class SuspicionRow(SQLModel, table=True):
    """Something that looked dead, and since when; believed only after a second look."""

    __tablename__ = "suspicions"

    subject: str = Field(primary_key=True)
    since: datetime = a_time()


class CrashRow(SQLModel, table=True):
    """One death of a stage's run, counted when the next one starts, for its project's breaker."""

    __tablename__ = "crashes"
    __table_args__ = (Index("ix_crashes_recent", "project", "at"),)

    id: int | None = Field(default=None, primary_key=True)
    project: str
    item_id: int = Field(foreign_key="work_items.id")
    at: datetime = a_time()


class HeartbeatRow(SQLModel, table=True):
    """When something that has to happen regularly last succeeded."""

    __tablename__ = "heartbeats"

    name: str = Field(primary_key=True)
    at: datetime = a_time()


class DrainRow(SQLModel, table=True):
    """While a drain is open no new stage run starts."""

    __tablename__ = "drains"

    id: int | None = Field(default=None, primary_key=True)
    owner: str
    since: datetime = a_time()
    deadline: datetime = a_time()
    ended_at: datetime | None = maybe_a_time()
