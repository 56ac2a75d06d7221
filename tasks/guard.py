"""Leaving alone what a person keeps aside on the board: the tick starts nothing of it."""

import asyncio
from dataclasses import dataclass, field

from sqlmodel import Session

from pipeline.errors import Missing, OrchError, Unavailable
from pipeline.model import WorkItem
from pipeline.stages import Status
from pipeline.store import counters, heartbeats, reactions, sightings
from tasks.entrance import FRESH
from tasks.services import Services

LEFT_ALONE = (Status.BLOCKED, Status.NEEDS_INPUT, Status.AWAITING_DEPLOY, Status.DEPLOYING, Status.MONITORING)

ASK_S = 5
"""How long Plane may take to say where one card stands."""

NO_ANSWER = f"the state of its card cannot be told: Plane has not answered within {ASK_S} s"

READS = 20
"""Cards that one tick reads by themselves, at most; an item more is left alone until the next."""


@dataclass
class Guard:
    """One tick's guard: a project whose cards cannot be read is asked once, and cards are read a few at a time.

    Once Plane has not answered in time, it is not asked again at all.
    """

    root: Services
    unreadable: dict[str, str] = field(default_factory=dict)
    reads: int = 0
    silent: bool = False

    async def __call__(self, item: WorkItem) -> str | None:
        """Why the item is to be left alone; None when it is not.

        By the state that its card really stands in, and no state that stands in for another. What Orch itself shows
        keeps nobody from healing: that an item is held, and what it waits for, the store says better. A card whose
        state cannot be told is left alone; of one that is gone people are told once. No call while
        `ORCH_RECONCILE_SKIP_BLOCKED_ENABLED` is off.
        """
        if not self.root.settings.reconcile_skip_blocked_enabled:
            return None
        why = await self._why(item)
        if why is not None:
            await self.root.store.awrite(counters.count, counters.LEFT_ALONE)
        return why

    async def _why(self, item: WorkItem) -> str | None:
        if (known := self.unreadable.get(item.project)) is not None:
            return known
        if self.silent:
            return NO_ANSWER
        try:
            async with asyncio.timeout(ASK_S):
                status = await self._status(item)
        except Missing as error:
            await self.root.store.awrite(_tell_that_it_is_gone, self.root, item, str(error))
            return f"its card is gone: {error}"
        except TimeoutError:
            self.silent = True
            return NO_ANSWER
        except (OrchError, KeyError) as error:
            self.unreadable[item.project] = f"the state of its card cannot be told: {error!r}"
            return self.unreadable[item.project]
        if status in LEFT_ALONE and status is not item.shown:
            return f"its card stands in {status}"
        return None

    async def _status(self, item: WorkItem) -> Status | None:
        project = self.root.project(item.project)
        state_id = await self.root.store.aread(_seen_lately, self.root, item)
        if state_id is None:
            if self.reads >= READS:
                raise Unavailable("so many cards were read already; the next tick goes on")
            self.reads += 1
            state_id = (await self.root.tracker.item(project, item.tracker_id)).state_id
        return (await self.root.states.of(project, having=state_id)).status(state_id)


def _tell_that_it_is_gone(session: Session, root: Services, item: WorkItem, why: str) -> None:
    html = root.texts("card_gone", key=item.key, title=item.title, stage=item.stage, why=why)
    reactions.say(session, item.key, html, f"card-gone:{item.id}", root.now())


def _seen_lately(session: Session, root: Services, item: WorkItem) -> str | None:
    """The card's state as of the last look through its board, where that is not long ago."""
    place = sightings.board(item.project)
    looked = heartbeats.last(session, place)
    if not root.settings.reconcile_plane_enabled or looked is None or root.now() - looked > FRESH:
        return None
    seen = sightings.last(session, place, [item.tracker_id]).get(item.tracker_id)
    return seen.state if seen is not None else None
