"""Telling people that Plane does not let Orch in: once each time that it begins, not at every try."""

from sqlmodel import Session

from pipeline.projects import Project
from pipeline.store import reactions, sightings
from tasks.services import Services

BOARD, START = "board", "start"
"""What may be refused of a project: a look through its board, the card of an item that is to begin."""

NONE = "0"


def refused(session: Session, root: Services, project: Project, what: str, why: str, *, patience: int = 1) -> None:
    """Count one more refusal; at the `patience`-th in a row people are told, and not again before it has `worked`."""
    place, now = sightings.refusals(project.key), root.now()
    seen = sightings.last(session, place, [what]).get(what)
    times = int(seen.state) + 1 if seen else 1
    sightings.stands(session, place, what, str(times), changed_at=None)
    if times == patience:
        html = root.texts("plane_refuses", project=project.key, why=why)
        reactions.say(session, project.key, html, f"plane-refuses:{project.key}:{what}:{now.isoformat()}", now)


def worked(session: Session, project: Project, what: str) -> None:
    """Plane has let Orch in: the next refusal is news again."""
    place = sightings.refusals(project.key)
    seen = sightings.last(session, place, [what]).get(what)
    if seen is not None and seen.state != NONE:
        sightings.stands(session, place, what, NONE, changed_at=None)
