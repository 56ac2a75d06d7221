"""The tables of Orch's own database. Rows stay inside `pipeline.store`; the rest of Orch sees `pipeline.model`."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Index, TypeDecorator, text
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in, aware UTC datetimes out, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy passes it
        """Refuse naive datetimes: they mean something else on every machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without time zone was about to be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy passes it
        """SQLite forgets the zone; what is stored is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(default: type) -> Any:
    return Field(default_factory=default, sa_type=JSON)


def _time(*, index: bool = False) -> Any:
    return Field(sa_type=UtcDateTime, index=index)


def _maybe_time(*, index: bool = False) -> Any:
    return Field(default=None, sa_type=UtcDateTime, index=index, nullable=True)


def _unique_where(name: str, condition: str, *columns: str) -> Index:
    where = text(condition)
    return Index(name, *columns, unique=True, sqlite_where=where, postgresql_where=where)


def _open_only(name: str, *columns: str) -> Index:
    """An index of open waits alone: it stays as small as what waits now."""
    where = text("closed_at IS NULL")
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


class WorkItemRow(SQLModel, table=True):
    """One tracker issue under care; natural keys are unique among items that are not cancelled."""

    __tablename__ = "work_items"
    __table_args__ = (
        _unique_where("uq_work_items_key", "cancelled_at IS NULL", "key"),
        _unique_where("uq_work_items_tracker", "cancelled_at IS NULL", "project", "tracker_id"),
        _unique_where("uq_work_items_branch", "cancelled_at IS NULL", "project", "branch"),
    )

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(index=True)
    project: str = Field(index=True)
    tracker_id: str
    title: str
    branch: str
    stage: str = Field(index=True)
    version: int = 1
    attempts: dict[str, int] = _json(dict)
    visits: dict[str, int] = _json(dict)
    created_at: datetime = _time()
    entered_at: datetime = _time()
    priority: str = "none"
    relations_as_of: datetime | None = _maybe_time()
    failures: int = 0
    not_before: datetime | None = _maybe_time()
    hold: str | None = None
    hold_reason: str = ""
    held_at: datetime | None = _maybe_time()
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
    monitor_until: datetime | None = _maybe_time()
    shown: str | None = None
    lease_generation: int = 0
    cancel_requested_at: datetime | None = _maybe_time()
    cancelled_at: datetime | None = _maybe_time()


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
    at: datetime = _time()


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
    at: datetime = _time()


class WaitRow(SQLModel, table=True):
    """What an item waits for; at most one open wait an item."""

    __tablename__ = "waits"
    __table_args__ = (
        _unique_where("uq_waits_open", "closed_at IS NULL", "item_id"),
        _open_only("ix_waits_look_again", "look_again_at"),
        _open_only("ix_waits_deadline", "reminded_at", "deadline"),
        _open_only("ix_waits_wake_requested", "wake_requested_at"),
        _open_only("ix_waits_checked", "checked_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    key: str = Field(unique=True)
    kind: str
    stage: str
    visit: int
    sentence: str
    since: datetime = _time()
    deadline: datetime | None = _maybe_time()
    look_again_at: datetime | None = _maybe_time()
    commit: str | None = None
    flow_run_id: str | None = Field(default=None, index=True)
    wake_requested_at: datetime | None = _maybe_time()
    reminded_at: datetime | None = _maybe_time()
    checked_at: datetime | None = _maybe_time()
    closed_at: datetime | None = _maybe_time()
    closed_because: str = ""


class TicketRow(SQLModel, table=True):
    """A place in a project's merge queue; the id is the order."""

    __tablename__ = "merge_queue"

    id: int | None = Field(default=None, primary_key=True)
    project: str = Field(index=True)
    item_id: int = Field(foreign_key="work_items.id", unique=True)
    since: datetime = _time()
    woken_at: datetime | None = _maybe_time()
    deferrals: int = 0


class AgentRunRow(SQLModel, table=True):
    """One run of a role's agent and what it consumed."""

    __tablename__ = "agent_runs"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    role: str
    visit: int
    model: str = ""
    effort: str = ""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    turns: int = 0
    started_at: datetime = _time()
    finished_at: datetime | None = _maybe_time()
    duration_s: float | None = None
    end: str | None = None
    exit_code: int | None = None
    sentence: str = ""
    question: str = ""
    log: str = ""
    start_commit: str = ""
    flow_run_id: str | None = None
    host: str | None = None
    boot: str | None = None
    pgid: int | None = None
    process_started: float | None = None


class GateResultRow(SQLModel, table=True):
    """One answer of a gate. Intake answers have no item yet, hence the key."""

    __tablename__ = "gate_results"

    id: int | None = Field(default=None, primary_key=True)
    item_key: str = Field(index=True)
    item_id: int | None = Field(default=None, foreign_key="work_items.id", index=True)
    gate: str
    stage: str | None = None
    visit: int = 0
    answer: str
    sentence: str
    commit: str | None = None
    evidence: dict[str, Any] = _json(dict)
    flow_run_id: str | None = None
    at: datetime = _time()


class CheckRunRow(SQLModel, table=True):
    """One run of a project's test command by Orch itself, on exactly one commit."""

    __tablename__ = "test_runs"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    commit: str = Field(index=True)
    purpose: str
    passed: bool
    sentence: str
    duration_s: float
    log: str
    failing: list[str] = _json(list)
    at: datetime = _time()


class CoverageRow(SQLModel, table=True):
    """One measurement of a project's coverage at exactly one commit."""

    __tablename__ = "coverage_runs"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    commit: str = Field(index=True)
    percent: float | None = None
    sentence: str
    duration_s: float
    log: str
    at: datetime = _time()


class BaselineRow(SQLModel, table=True):
    """The coverage that a project has reached; it only rises."""

    __tablename__ = "coverage_baselines"

    project: str = Field(primary_key=True)
    percent: float
    commit: str
    at: datetime = _time()


class HookRow(SQLModel, table=True):
    """One run of a project's hook or check, with the end of its output."""

    __tablename__ = "hook_runs"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    hook: str
    commit: str = Field(index=True)
    end: str
    exit_code: int | None = None
    sentence: str
    duration_s: float
    output: str
    log: str
    at: datetime = _time()


class ProbeRow(SQLModel, table=True):
    """One look at what runs on a stand."""

    __tablename__ = "probes"

    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    stand: str
    expected: str
    health: str
    revision: str | None = None
    sentence: str
    at: datetime = _time()


class EffectRow(SQLModel, table=True):
    """A step that cannot be undone: journalled before and after."""

    __tablename__ = "effects"

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    project: str = Field(index=True)
    name: str
    generation: int
    details: dict[str, Any] = _json(dict)
    started_at: datetime = _time()
    done_at: datetime | None = _maybe_time()
    outcome: str = ""


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
    acquired_at: datetime = _time()
    expires_at: datetime = _time()


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
    at: datetime = _time()


class PlaceRow(SQLModel, table=True):
    """An item past analysis and its place in its project; two items that race for one place collide on the slot."""

    __tablename__ = "places"
    __table_args__ = (Index("uq_places", "project", "slot", unique=True),)

    item_id: int = Field(foreign_key="work_items.id", primary_key=True)
    project: str
    slot: int
    since: datetime = _time()


class FreezeRow(SQLModel, table=True):
    """While there is one, nothing of the project lands or is deployed; an empty project means all of them."""

    __tablename__ = "freezes"

    project: str = Field(primary_key=True)
    actor: str
    why: str
    since: datetime = _time()


class DeliveryRow(SQLModel, table=True):
    """One webhook as it arrived; the digest makes a repeated one known."""

    __tablename__ = "deliveries"

    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    source: str
    event: str
    body: str
    received_at: datetime = _time(index=True)
    resolved_at: datetime | None = _maybe_time(index=True)
    note: str = ""
    inbound: list[dict[str, Any]] = _json(list)


class SignalRow(SQLModel, table=True):
    """What a delivery means to an item; consumed in the transaction that applies it."""

    __tablename__ = "signals"

    id: int | None = Field(default=None, primary_key=True)
    delivery_id: int | None = Field(default=None, foreign_key="deliveries.id", index=True)
    project: str
    item_key: str = Field(index=True)
    signal: str
    actor: str
    payload: dict[str, Any] = _json(dict)
    received_at: datetime = _time()
    published_at: datetime | None = _maybe_time()
    published: int = 0
    consumed_at: datetime | None = _maybe_time(index=True)
    consequence: str = ""


class OutboxRow(SQLModel, table=True):
    """What must follow a write: an event, a comment, a message, a status; sent afterwards, and again until it went."""

    __tablename__ = "outbox"

    id: int | None = Field(default=None, primary_key=True)
    dedupe: str | None = Field(default=None, unique=True)
    kind: str
    item_key: str = Field(index=True)
    payload: dict[str, Any] = _json(dict)
    created_at: datetime = _time()
    not_before: datetime = _time(index=True)
    claimed_until: datetime | None = _maybe_time()
    sent_at: datetime | None = _maybe_time(index=True)
    tries: int = 0
    last_error: str = ""


class CardRow(SQLModel, table=True):
    """The one live message about an item: where it is, and a fingerprint of what it says."""

    __tablename__ = "cards"

    item_id: int = Field(foreign_key="work_items.id", primary_key=True, sa_column_kwargs={"autoincrement": False})
    message: str | None = None
    says: str = ""
    taken_until: datetime | None = _maybe_time()


class SightingRow(SQLModel, table=True):
    """How a card or a pull request stood when Orch last heard of it: by webhook, by polling or by its own hand."""

    __tablename__ = "sightings"

    place: str = Field(primary_key=True)
    thing: str = Field(primary_key=True)
    state: str
    changed_at: datetime | None = _maybe_time()
    polled: bool = False


class WatermarkRow(SQLModel, table=True):
    """Up to which of an outside system's own times its changes have been looked through."""

    __tablename__ = "watermarks"

    name: str = Field(primary_key=True)
    at: datetime = _time()


class CounterRow(SQLModel, table=True):
    """How often something has happened since the database was made."""

    __tablename__ = "counters"

    name: str = Field(primary_key=True)
    value: int = 0


class SuspicionRow(SQLModel, table=True):
    """Something that looked dead, and since when; believed only after a second look."""

    __tablename__ = "suspicions"

    subject: str = Field(primary_key=True)
    since: datetime = _time()


class CrashRow(SQLModel, table=True):
    """One death of a stage's run, counted when the next one starts, for its project's breaker."""

    __tablename__ = "crashes"
    __table_args__ = (Index("ix_crashes_recent", "project", "at"),)

    id: int | None = Field(default=None, primary_key=True)
    project: str
    item_id: int = Field(foreign_key="work_items.id")
    at: datetime = _time()


class HeartbeatRow(SQLModel, table=True):
    """When something that has to happen regularly last succeeded."""

    __tablename__ = "heartbeats"

    name: str = Field(primary_key=True)
    at: datetime = _time()


class DrainRow(SQLModel, table=True):
    """While a drain is open no new stage run starts."""

    __tablename__ = "drains"

    id: int | None = Field(default=None, primary_key=True)
    owner: str
    since: datetime = _time()
    deadline: datetime = _time()
    ended_at: datetime | None = _maybe_time()
