"""What Orch last knew of the tracker's cards, so that a move which nobody told of is told from one that was heard."""

from datetime import datetime

from sqlmodel import Session

from pipeline.store.tables import SeenCardRow, WatermarkRow


def seen(session: Session, project: str, tracker_id: str) -> SeenCardRow | None:
    """The card as it was last heard of; None when it never was."""
    return session.get(SeenCardRow, (project, tracker_id))


def stands(
    session: Session, project: str, tracker_id: str, state_id: str, *, updated_at: datetime | None, polled: bool = False
) -> bool:
    """Note where a card stands now; whether that is another state than before. Idempotent.

    `updated_at` is the tracker's own time of the card's last change, where it is known.
    """
    row = seen(session, project, tracker_id) or SeenCardRow(project=project, tracker_id=tracker_id, state_id="")
    moved = row.state_id != state_id
    row.state_id, row.updated_at = state_id, updated_at
    row.polled = polled if moved else row.polled
    session.add(row)
    session.flush()
    return moved


def watermark(session: Session, name: str) -> datetime | None:
    """Up to which time of its own an outside system has been looked through; None when it never was."""
    row = session.get(WatermarkRow, name)
    return row.at if row else None


def reached(session: Session, name: str, at: datetime) -> None:
    """Everything up to `at` has been looked through. A watermark never falls."""
    row = session.get(WatermarkRow, name) or WatermarkRow(name=name, at=at)
    row.at = max(row.at, at)
    session.add(row)
