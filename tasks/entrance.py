"""What keeps an item out of its stage: the tracker is asked what may have changed, and the store is asked for the rest."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.model import TrackerItem, TrackerRef, Wait, WorkItem
from pipeline.outcomes import WaitFor
from pipeline.projects import Project
from pipeline.store import admission, dependencies, heartbeats, items, sightings, waits
from tasks.services import Services

log = logging.getLogger("orch.entrance")

FRESH = timedelta(seconds=90)
"""How old a look through a board may be for its word about a card to count without another call."""

ASK_S = 5
"""How long the tracker may take to say what an item depends on, before a stage is begun without its word. A tick gives
one item more than that."""


@dataclass
class Patience:
    """One tick's with the tracker: once it has not answered in time, it is not asked again at all."""

    ended: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about entering: how many items at a time, and whose dependencies count."""

    limit: int
    sources: tuple[str, ...]


def rules(root: Services, project_key: str) -> Rules:
    """The rules for a project; one that was taken out of the registry has no limit."""
    project = root.projects.get(project_key)
    return Rules(project.max_active_items if project else 0, root.settings.dependency_sources)


async def opens(root: Services, item: WorkItem, wait: Wait, patience: Patience) -> bool:
    """Whether an item that waits to enter its stage should try again, for it may, or waits for something else now.

    Asks the store every time, and the tracker when the wait says that it is time to look again and the card may have
    changed: no run is started in vain, and none is kept.
    """
    now, look_again = root.now(), root.settings.ci_look_again_s
    if wait.look_again_at is not None and now >= wait.look_again_at:
        if not patience.ended and not await root.store.aread(_unchanged, root, item):
            patience.ended = not await refresh(root, item.key)
        await root.store.awrite(waits.look_later, wait.id, now, look_again)
    by = rules(root, item.project)
    kept = await root.store.aread(admission.look, item, limit=by.limit, sources=by.sources)
    return not (isinstance(kept, WaitFor) and kept.kind is wait.kind)


def _unchanged(session: Session, root: Services, item: WorkItem) -> bool:
    """Whether the look through the board, not long ago, tells that the card is as it was when its relations were read.

    Relations move a card's time of change; what else it is blocked by, and is on a board, that look finds moved itself.
    Of what is on no board of the registry nobody but the tracker can tell.
    """
    strangers = dependencies.strangers(session, item.key, root.settings.dependency_sources)
    if any(root.projects.of_work_item(key) is None for key in strangers):
        return False
    place = sightings.board(item.project)
    looked = heartbeats.last(session, place)
    if not root.settings.reconcile_plane_enabled or looked is None or root.now() - looked > FRESH:
        return False
    seen = sightings.last(session, place, [item.tracker_id]).get(item.tracker_id)
    read = dependencies.relations_as_of(session, item.id)
    return seen is not None and seen.changed_at is not None and read is not None and seen.changed_at <= read


async def refresh(root: Services, key: str) -> bool:
    """Read the card's relations again where they may have changed since: no webhook tells of that.

    False when the tracker has not answered in time.

    What cannot be read counts as ready: it keeps nobody waiting, and is asked again the next time. Without a call while
    dependencies are off, come from the database alone, or the item has landed.
    """
    item = await root.store.aread(items.find, key)
    if item is None or item.landed is not None or dependencies.FROM_TRACKER not in root.settings.dependency_sources:
        return True
    try:
        async with asyncio.timeout(ASK_S):
            await _refresh(root, item)
    except OrchError as error:
        log.warning("%s: what it is blocked by cannot be read: %s", key, error)
    except TimeoutError:
        log.warning("%s: what it is blocked by is not told within %s s", key, ASK_S)
        return False
    return True


async def _refresh(root: Services, item: WorkItem) -> None:
    project = root.project(item.project)
    card = await root.tracker.item(project, item.tracker_id)
    if card.updated_at == await root.store.aread(dependencies.relations_as_of, item.id):
        await _look_at_strangers(root, item)
        return
    found, complete = {}, True
    for link in await root.tracker.blocked_by(project, item.tracker_id):
        try:
            on, group = await _resolve(root, link)
        except OrchError as error:
            log.warning("%s: %s, which blocks it, cannot be read: %s", item.key, link.item_id, error)
            complete = False
        else:
            found[on] = group
    await root.store.awrite(_heard, item, card, found, card.updated_at if complete else None, root.now())


def _heard(
    session: Session, item: WorkItem, card: TrackerItem, found: dict[str, str], as_of: datetime | None, now: datetime
) -> None:
    dependencies.replace(session, item.key, found, now)
    row = items.lock(session, item.id)
    row.priority, row.relations_as_of = card.priority, as_of
    session.add(row)


async def _resolve(root: Services, link: TrackerRef) -> tuple[str, str]:
    """A linked issue's key and state group; the group of a work item is not asked for. Raises when nobody can tell."""
    project = root.projects.of_tracker(link.project_id)
    if project is None:  # it is nothing of Orch's, and still has to be done before
        key = await root.tracker.key_of(link)
        return key, await root.tracker.group_of(key)
    known = await root.store.aread(items.by_tracker_id, project.key, link.item_id)
    if known is not None:
        return known.key, ""
    card = await root.tracker.item(project, link.item_id)
    return project.work_item_key(card.sequence_id), await _group(root, project, card)


async def _group(root: Services, project: Project, card: TrackerItem) -> str:
    states = await root.states.of(project, having=card.state_id)
    return states.group(card.state_id)


async def _look_at_strangers(root: Services, item: WorkItem) -> None:
    """Ask how the issues stand that are no work items and keep the item waiting; their own webhooks may be lost."""
    for key in await root.store.aread(dependencies.strangers, item.key, root.settings.dependency_sources):
        project, group = root.projects.of_work_item(key), ""
        try:
            if project is None:
                group = await root.tracker.group_of(key)
            else:
                group = await _group(root, project, await root.tracker.item_by_key(project, key))
        except OrchError as error:
            log.warning("%s: %s, which blocks it, cannot be read: %s", item.key, key, error)
        await root.store.awrite(dependencies.tracker_moved, key, group, root.now())
