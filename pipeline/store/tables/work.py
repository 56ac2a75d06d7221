"""Work items: where they stand, what they wait for, what was decided about them, what they depend on."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from pipeline.store.tables.columns import a_time, as_json, maybe_a_time, open_only, unique_where


class WorkItemRow(SQLModel, table=True):
    """One tracker issue under care; natural keys are unique among items that are not cancelled."""

    __tablename__ = "work_items"
    __table_args__ = (
        unique_where("uq_work_items_key", "cancelled_at IS NULL", "key"),
        unique_where("uq_work_items_tracker", "cancelled_at IS NULL", "project", "tracker_id"),
        unique_where("uq_work_items_branch", "cancelled_at IS NULL", "project", "branch"),
    )

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(index=True)
    project: str = Field(index=True)
    tracker_id: str
    title: str
    branch: str
    stage: str = Field(index=True)
    version: int = 1
    attempts: dict[str, int] = as_json(dict)
    visits: dict[str, int] = as_json(dict)
    created_at: datetime = a_time()
    entered_at: datetime = a_time()
    priority: str = "none"
    relations_as_of: datetime | None = maybe_a_time()
    failures: int = 0
    not_before: datetime | None = maybe_a_time()
    hold: str | None = None
    hold_reason: str = ""
    held_at: datetime | None = maybe_a_time()
    feedback: str = ""
    pull_number: int | None = None
    head: str | None = None
    tip: str | None = None
    pushing: str | None = None
    validated: str | None = None
    validated_base: str | None = None
    approved: str | None = None
    confirmed: str | None = None
    landed: str | None = None
    deployed: str | None = None
    monitor_until: datetime | None = maybe_a_time()
    shown: str | None = None
    lease_generation: int = 0
    cancel_requested_at: datetime | None = maybe_a_time()
    cancelled_at: datetime | None = maybe_a_time()


class TransitionRow(SQLModel, table=True):
    """One stage write, with who, why and in which run."""

    __tablename__ = "transitions"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    from_stage: str | None
    to_stage: str
    version: int
    actor: str
    reason: str
    flow_run_id: str | None
    at: datetime = a_time()


class DecisionRow(SQLModel, table=True):
    """A person's decision, bound to what was asked and to the commit that was shown."""

    __tablename__ = "decisions"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    kind: str
    choice: str
    commit: str
    actor: str
    text: str = ""
    at: datetime = a_time()


class WaitRow(SQLModel, table=True):
    """What an item waits for; at most one open wait an item."""

    __tablename__ = "waits"
    __table_args__ = (
        unique_where("uq_waits_open", "closed_at IS NULL", "item_id"),
        open_only("ix_waits_look_again", "look_again_at"),
        open_only("ix_waits_deadline", "reminded_at", "deadline"),
        open_only("ix_waits_wake_requested", "wake_requested_at"),
        open_only("ix_waits_checked", "checked_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    key: str = Field(unique=True)
    kind: str
    stage: str
    visit: int
    sentence: str
    since: datetime = a_time()
    deadline: datetime | None = maybe_a_time()
    look_again_at: datetime | None = maybe_a_time()
    commit: str | None = None
    flow_run_id: str | None = Field(default=None, index=True)
    wake_requested_at: datetime | None = maybe_a_time()
    reminded_at: datetime | None = maybe_a_time()
    checked_at: datetime | None = maybe_a_time()
    closed_at: datetime | None = maybe_a_time()
    closed_because: str = ""


class TicketRow(SQLModel, table=True):
    """A place in a project's merge queue; the id is the order."""

    __tablename__ = "merge_queue"

    id: int | None = Field(default=None, primary_key=True)
    project: str = Field(index=True)
    item_id: int = Field(foreign_key="work_items.id", unique=True)
    since: datetime = a_time()
    woken_at: datetime | None = maybe_a_time()
    deferrals: int = 0


class DependencyRow(SQLModel, table=True):
    """`item_key` may not enter a stage before `blocked_by` is done or cancelled.

    `group` is the tracker's state group of a `blocked_by` that is no work item, as last heard; empty: not known.
    """

    __tablename__ = "dependencies"
    __table_args__ = (Index("uq_dependencies", "item_key", "blocked_by", unique=True),)

    id: int | None = Field(default=None, primary_key=True)
    item_key: str = Field(index=True)
    blocked_by: str = Field(index=True)
    source: str
    group: str = ""
    at: datetime = a_time()


class PlaceRow(SQLModel, table=True):
    """An item past analysis and its place in its project; two items that race for one place collide on the slot."""

    __tablename__ = "places"
    __table_args__ = (Index("uq_places", "project", "slot", unique=True),)

    item_id: int = Field(foreign_key="work_items.id", primary_key=True)
    project: str
    slot: int
    since: datetime = a_time()
