"""What was seen and done on staging and in production, and the coverage that a project has reached."""

from datetime import datetime
from pathlib import Path

from sqlmodel import Session, col, select

from pipeline.model import Baseline, CoverageRun, Health, Hook, HookEnd, HookRun, Probed, Stand
from pipeline.store.known import as_known, one_of
from pipeline.store.tables import BaselineRow, CoverageRow, HookRow, ProbeRow


def hook_ran(session: Session, item_id: int, hook: Hook, commit: str, run: HookRun, now: datetime) -> None:
    """Record one run of a hook."""
    session.add(
        HookRow(
            item_id=item_id,
            hook=hook,
            commit=commit,
            end=run.end,
            exit_code=run.exit_code,
            sentence=run.sentence,
            duration_s=run.duration_s,
            output=run.output,
            log=str(run.log),
            at=now,
        )
    )


def last_hook(session: Session, item_id: int, hook: Hook, commit: str, *, since: datetime) -> HookRun | None:
    """The last run of a hook for exactly this commit since then."""
    row = session.exec(
        select(HookRow)
        .where(HookRow.item_id == item_id, HookRow.hook == hook, HookRow.commit == commit, HookRow.at >= since)
        .order_by(col(HookRow.id).desc())
    ).first()
    if row is None:
        return None
    return HookRun(
        as_known(HookEnd, row.end, f"The end of hook run {row.id}"),
        row.exit_code,
        row.sentence,
        row.duration_s,
        row.output,
        Path(row.log),
    )


def probed(session: Session, item_id: int, stand: Stand, expected: str, seen: Probed, now: datetime) -> None:
    """Record one look at a stand."""
    session.add(
        ProbeRow(
            item_id=item_id,
            stand=stand,
            expected=expected,
            health=seen.health,
            revision=seen.revision,
            sentence=seen.sentence,
            at=now,
        )
    )


def probes(session: Session, item_id: int, stand: Stand, expected: str, *, since: datetime) -> tuple[Probed, ...]:
    """All looks at a stand for this commit since then, oldest first."""
    rows = session.exec(
        select(ProbeRow)
        .where(
            ProbeRow.item_id == item_id,
            ProbeRow.stand == stand,
            ProbeRow.expected == expected,
            ProbeRow.at >= since,
            one_of(ProbeRow.health, Health),
        )
        .order_by(col(ProbeRow.id))
    ).all()
    return tuple(Probed(Health(row.health), row.revision, row.sentence) for row in rows)


def coverage_measured(session: Session, item_id: int, run: CoverageRun, now: datetime) -> None:
    """Record one measurement of coverage."""
    session.add(
        CoverageRow(
            item_id=item_id,
            commit=run.commit,
            percent=run.percent,
            sentence=run.sentence,
            duration_s=run.duration_s,
            log=str(run.log),
            at=now,
        )
    )


def coverage_of(session: Session, item_id: int, commit: str) -> CoverageRun | None:
    """The last measurement of exactly this commit, whether it told a number or not."""
    row = session.exec(
        select(CoverageRow)
        .where(CoverageRow.item_id == item_id, CoverageRow.commit == commit)
        .order_by(col(CoverageRow.id).desc())
    ).first()
    return CoverageRun(row.commit, row.percent, row.sentence, row.duration_s, Path(row.log)) if row else None


def baseline(session: Session, project: str) -> Baseline | None:
    """The coverage that the project has reached, None before the first landing that was measured."""
    row = session.get(BaselineRow, project)
    return Baseline(row.percent, row.commit) if row else None


def ratchet(session: Session, project: str, percent: float, commit: str, now: datetime) -> bool:
    """Raise the project's baseline to `percent`; False when it is that high already. Idempotent, never lowers it."""
    row = session.get(BaselineRow, project, with_for_update=True)
    if row is None:
        session.add(BaselineRow(project=project, percent=percent, commit=commit, at=now))
        return True
    if row.percent >= percent:
        return False
    row.percent, row.commit, row.at = percent, commit, now
    session.add(row)
    return True


def lower(session: Session, project: str, percent: float, commit: str, now: datetime) -> None:
    """Lower the project's baseline to `percent` where it is higher: what raised it was taken back. Idempotent."""
    row = session.get(BaselineRow, project, with_for_update=True)
    if row is not None and row.percent > percent:
        row.percent, row.commit, row.at = percent, commit, now
        session.add(row)
