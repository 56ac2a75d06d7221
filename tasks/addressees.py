"""Which project and which item something that was told is about, and whether its author may decide."""

import logging
from collections.abc import Collection, Iterable

from sqlmodel import Session

from pipeline.model import InboundSignal
from pipeline.projects import Project
from pipeline.store import items
from tasks.services import Services

log = logging.getLogger("orch.addressees")


def may_decide(people: Collection[str], names: Iterable[str]) -> bool:
    """Whether somebody with these names is one of the `people` who may decide; without a list everybody is."""
    return not people or not {name.casefold() for name in names if name}.isdisjoint(name.casefold() for name in people)


def project_of(root: Services, ref: str) -> Project | None:
    """The project of the registry that a sender names by its id in the tracker, or by its repository."""
    return root.projects.of_tracker(ref) or root.projects.of_repository(ref)


def item_key(session: Session, project: Project, entry: InboundSignal) -> str | None:
    """The key of the item that an entry is about, from what the entry and the store tell."""
    if entry.item_ref.startswith("sha:"):
        return _of_commit(session, project, entry.item_ref.removeprefix("sha:"), entry.payload.get("branches"))
    sequence = entry.payload.get("sequence_id")
    if isinstance(sequence, int):
        return project.work_item_key(sequence)
    item = items.by_branch(session, project.key, entry.item_ref)
    item = item or items.by_tracker_id(session, project.key, entry.item_ref)
    return item.key if item else None


def _of_commit(session: Session, project: Project, commit: str, branches: object) -> str | None:
    """The item of a commit status: by its commit, else by the branches that Gitea names, else the only candidate."""
    if (item := items.by_commit(session, project.key, commit)) is not None:
        return item.key
    if isinstance(branches, list | tuple) and branches:
        found = [items.by_branch(session, project.key, str(name)) for name in branches]
        return next((item.key for item in found if item), None)
    return _only_in_development(session, project, commit)


def _only_in_development(session: Session, project: Project, commit: str) -> str | None:
    """The one item of the project that CI may be about; with several a guess would be as good as another."""
    found = items.in_development(session, project.key, limit=2)
    if len(found) > 1:
        log.info(
            "a status of %s in %s is left alone: %s are both in development", commit, project.key, " and ".join(found)
        )
    return found[0] if len(found) == 1 else None
