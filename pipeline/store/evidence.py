"""What was observed and consumed: gate answers, agent runs, test runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from pipeline.budgets import Spent
from pipeline.model import (
    AgentEnd,
    AgentOutcome,
    Answer,
    GateResult,
    ProcessIdentity,
    TestRun,
    Usage,
    WaitKind,
    WorkItem,
)
from pipeline.stages import Role, Stage
from pipeline.store.known import as_known, one_of, one_of_or_none
from pipeline.store.tables import AgentRunRow, CheckRunRow, GateResultRow

MERGE_PURPOSE = "merge-"
"""How the purpose of the merge gate's test runs begins; the base it was tested on follows."""


@dataclass(frozen=True, slots=True)
class AgentRun:
    """One recorded run of an agent; unfinished while `end` is None."""

    id: int
    role: Role
    visit: int
    started_at: datetime
    finished_at: datetime | None
    end: AgentEnd | None
    exit_code: int | None
    sentence: str
    question: str
    usage: Usage
    duration_s: float | None
    log: str
    start_commit: str
    process: ProcessIdentity | None


@dataclass(frozen=True, slots=True)
class RecordedGate:
    """A gate's answer as it was given."""

    gate: str
    stage: Stage | None
    visit: int
    result: GateResult
    at: datetime


def gate_answered(
    session: Session,
    *,
    item_key: str,
    item: WorkItem | None,
    gate: str,
    result: GateResult,
    run: str | None,
    now: datetime,
) -> None:
    """Store a gate's answer."""
    session.add(
        GateResultRow(
            item_key=item_key,
            item_id=item.id if item else None,
            gate=gate,
            stage=item.stage if item else None,
            visit=item.visit if item else 0,
            answer=result.answer,
            sentence=result.sentence,
            commit=result.commit,
            evidence={"waits_for": result.waits_for, **result.evidence},
            flow_run_id=run,
            at=now,
        )
    )


def gates_of(session: Session, item_key: str) -> list[RecordedGate]:
    """All gate answers about an item that this version understands, in order."""
    ours = (one_of(GateResultRow.answer, Answer), one_of_or_none(GateResultRow.stage, Stage))
    rows = session.exec(
        select(GateResultRow).where(GateResultRow.item_key == item_key, *ours).order_by(col(GateResultRow.id))
    ).all()
    return [_recorded(row) for row in rows]


def agent_started(
    session: Session, item: WorkItem, role: Role, *, model: str, effort: str, log: Path, start_commit: str,
    run: str | None, now: datetime,
) -> int:  # fmt: skip
    """Record that an agent is about to work; the run's id."""
    row = AgentRunRow(
        item_id=item.id,
        role=role,
        visit=item.visit,
        model=model,
        effort=effort,
        log=str(log),
        start_commit=start_commit,
        flow_run_id=run,
        started_at=now,
    )
    session.add(row)
    session.flush()
    return row.id or 0


def agent_process(session: Session, run_id: int, process: ProcessIdentity) -> None:
    """Record the agent's process group, so that it can be ended whatever becomes of us."""
    row = session.get_one(AgentRunRow, run_id)
    row.host, row.boot, row.pgid, row.process_started = process.host, process.boot, process.pgid, process.started
    session.add(row)


def agent_finished(session: Session, run_id: int, outcome: AgentOutcome, now: datetime) -> None:
    """Record how the agent's run ended and what it consumed."""
    row = session.get_one(AgentRunRow, run_id)
    if row.finished_at is not None:
        return  # somebody has ended it meanwhile, and what it says of itself counts no more
    row.finished_at, row.end, row.exit_code = now, outcome.end, outcome.exit_code
    row.sentence, row.question, row.duration_s = outcome.sentence, outcome.question, outcome.duration_s
    _write_usage(row, outcome.usage)
    session.add(row)


def agent_runs(session: Session, item_id: int) -> list[AgentRun]:
    """All agent runs of an item, in order."""
    rows = session.exec(select(AgentRunRow).where(AgentRunRow.item_id == item_id).order_by(col(AgentRunRow.id))).all()
    return [_agent_run(row) for row in rows]


def spent_by(session: Session, item_id: int) -> Spent:
    """What all agent runs of an item have used up."""
    return _spent(session, AgentRunRow.item_id == item_id)


def spent_since(session: Session, moment: datetime) -> Spent:
    """What the agent runs of all items that started since `moment` have used up."""
    return _spent(session, col(AgentRunRow.started_at) >= moment)


def _spent(session: Session, which: Any) -> Spent:
    """The sums. Runs that were cut off before they could say their price count as their tokens cost in those that did."""
    usd, tokens = _sums(session, which)
    _, untold = _sums(session, which, AgentRunRow.cost_usd == 0)
    if untold:
        price, of_tokens = _sums(session, col(AgentRunRow.cost_usd) > 0)
        usd += untold * price / of_tokens if of_tokens else 0.0
    return Spent(usd, tokens)


def _sums(session: Session, *which: Any) -> tuple[float, int]:
    """Dollars and tokens of these runs."""
    counted = (
        *(AgentRunRow.input_tokens, AgentRunRow.cache_read_tokens),
        *(AgentRunRow.cache_creation_tokens, AgentRunRow.output_tokens),
    )
    sums = [func.coalesce(func.sum(column), 0) for column in (AgentRunRow.cost_usd, *counted)]
    usd, *tokens = session.execute(select(*sums).where(*which)).one()
    return float(usd), sum(int(count) for count in tokens)


def agent_run_of_visit(session: Session, item: WorkItem, role: Role) -> AgentRun | None:
    """The last finished run of `role` for the item's current visit."""
    row = session.exec(
        select(AgentRunRow)
        .where(
            AgentRunRow.item_id == item.id,
            AgentRunRow.role == role,
            AgentRunRow.visit == item.visit,
            col(AgentRunRow.finished_at).is_not(None),
            col(AgentRunRow.end).is_not(None),
        )
        .order_by(col(AgentRunRow.id).desc())
    ).first()
    return _agent_run(row) if row else None


def unfinished_agent_runs(session: Session, item_id: int) -> list[AgentRun]:
    """Runs that were begun and never recorded as ended."""
    return [run for run in agent_runs(session, item_id) if run.finished_at is None]


def agent_interrupted(session: Session, run_id: int, sentence: str, usage: Usage, now: datetime) -> None:
    """Close a run that was killed together with us: it says nothing about the agent, but has cost what it has."""
    row = session.get_one(AgentRunRow, run_id)
    row.finished_at, row.sentence = now, sentence
    _write_usage(row, usage)
    session.add(row)


def _write_usage(row: AgentRunRow, usage: Usage) -> None:
    row.input_tokens, row.output_tokens = usage.input_tokens, usage.output_tokens
    row.cache_read_tokens, row.cache_creation_tokens = usage.cache_read_tokens, usage.cache_creation_tokens
    row.cost_usd, row.turns = usage.cost_usd, usage.turns


def tests_ran(session: Session, item_id: int, purpose: str, run: TestRun, now: datetime) -> None:
    """Record a run of the project's tests."""
    session.add(
        CheckRunRow(
            item_id=item_id,
            commit=run.commit,
            purpose=purpose,
            passed=run.passed,
            sentence=run.sentence,
            duration_s=run.duration_s,
            log=str(run.log),
            failing=list(run.failing),
            at=now,
        )
    )


def tests_of(session: Session, item_id: int, commit: str, purpose: str, *, since: datetime) -> TestRun | None:
    """The last recorded run of the tests for `purpose` on exactly this commit: green ever, or red since `since`."""
    row = session.exec(
        select(CheckRunRow)
        .where(
            CheckRunRow.item_id == item_id,
            CheckRunRow.commit == commit,
            CheckRunRow.purpose == purpose,
            or_(col(CheckRunRow.passed).is_(True), col(CheckRunRow.at) >= since),
        )
        .order_by(col(CheckRunRow.id).desc())
    ).first()
    return (
        TestRun(row.commit, row.passed, row.sentence, row.duration_s, Path(row.log), tuple(row.failing))
        if row
        else None
    )


def tested_for_landing(session: Session, item_id: int) -> str | None:
    """The commit of the last green test run that the merge gate made for an item."""
    return session.exec(
        select(CheckRunRow.commit)
        .where(
            CheckRunRow.item_id == item_id,
            col(CheckRunRow.passed).is_(True),
            col(CheckRunRow.purpose).startswith(MERGE_PURPOSE),
        )
        .order_by(col(CheckRunRow.id).desc())
    ).first()


def _recorded(row: GateResultRow) -> RecordedGate:
    evidence: Mapping[str, Any] = dict(row.evidence)
    waits_for = evidence.get("waits_for")
    result = GateResult(
        Answer(row.answer),
        row.sentence,
        row.commit,
        as_known(WaitKind, waits_for, f"What gate {row.gate} waits for") if waits_for else None,
        {name: value for name, value in evidence.items() if name != "waits_for"},
    )
    return RecordedGate(row.gate, Stage(row.stage) if row.stage else None, row.visit, result, row.at)


def _agent_run(row: AgentRunRow) -> AgentRun:
    process = None
    if row.host and row.boot and row.pgid and row.process_started is not None:
        process = ProcessIdentity(row.host, row.boot, row.pgid, row.process_started)
    return AgentRun(
        id=row.id or 0,
        role=as_known(Role, row.role, f"The role of agent run {row.id}"),
        visit=row.visit,
        started_at=row.started_at,
        finished_at=row.finished_at,
        end=as_known(AgentEnd, row.end, f"The end of agent run {row.id}") if row.end else None,
        exit_code=row.exit_code,
        sentence=row.sentence,
        question=row.question,
        usage=Usage(
            row.input_tokens,
            row.cache_read_tokens,
            row.cache_creation_tokens,
            row.output_tokens,
            row.cost_usd,
            row.turns,
        ),
        duration_s=row.duration_s,
        log=row.log,
        start_commit=row.start_commit,
        process=process,
    )
