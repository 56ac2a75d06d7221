"""What was done and found: agents, gates, tests, coverage, hooks, probes, and effects."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from pipeline.store.tables.columns import a_time, as_json, maybe_a_time


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
    started_at: datetime = a_time()
    finished_at: datetime | None = maybe_a_time()
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
    evidence: dict[str, Any] = as_json(dict)
    flow_run_id: str | None = None
    at: datetime = a_time()


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
    failing: list[str] = as_json(list)
    at: datetime = a_time()


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
    at: datetime = a_time()


class BaselineRow(SQLModel, table=True):
    """The coverage that a project has reached; it only rises."""

    __tablename__ = "coverage_baselines"

    project: str = Field(primary_key=True)
    percent: float
    commit: str
    at: datetime = a_time()


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
    at: datetime = a_time()


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
    at: datetime = a_time()


class EffectRow(SQLModel, table=True):
    """A step that cannot be undone: journalled before and after."""

    __tablename__ = "effects"

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    item_id: int = Field(foreign_key="work_items.id", index=True)
    project: str = Field(index=True)
    name: str
    generation: int
    details: dict[str, Any] = as_json(dict)
    started_at: datetime = a_time()
    done_at: datetime | None = maybe_a_time()
    outcome: str = ""
