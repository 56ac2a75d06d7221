"""What a tick does about items: those that are due are found by the store, Prefect is asked once about all of them."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable

from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.model import WaitKind
from pipeline.stages import WORKED
from pipeline.store import due, waits
from pipeline.store.due import Standing
from tasks import prefect_api, reclaiming, stopping
from tasks.guard import Guard
from tasks.healing import heal_one, is_over
from tasks.looks import Observed, observe
from tasks.services import Services
from tasks.starting import without_a_run
from tasks.turns import rotated, side_by_side

log = logging.getLogger("orch.due")

AT_ONCE = 50
"""Items that a tick does something about; the others come at the next ones."""

LOOKED_AT = 500
"""Items without a run that are looked at until so many are started: those that are left alone keep nobody waiting."""

CHECKED = prefect_api.PAGE
"""Suspended runs that a tick looks after, one page of Prefect's: all of them in turn."""

ITEM_S = 8
"""How long one item may take; one that hangs comes later, and the others have their turn."""

ASKS_THE_FORGE = (WaitKind.CI,)
ASKS_THE_TRACKER = (WaitKind.DEPENDENCY, WaitKind.SERIAL)
"""Waits of which one of them may be asked whether they are over: where one hangs, the other's do not wait for it."""


async def heal_due(root: Services) -> list[str]:
    """Do what is due about items; a sentence for each. One item's trouble is said, and the others are looked at.

    What is due for different reasons is seen to side by side: one that waits for a neighbour holds up no other.
    """
    groups, asked = await root.store.aread(_find, root)
    seen = await observe([*(one for group in groups for one in group), *asked])
    changed = await _changed(root, asked, seen)
    await root.store.awrite(due.checked, [one.wait.id for one in asked if one.wait], root.now())
    did: list[str] = []
    guard = Guard(root)
    begun = [run for runs in seen.begun.values() for run in runs]
    await side_by_side(
        *(_heal(root, group, seen, guard, did) for group in (*groups, changed)),
        _tell(did, "zombies were buried", reclaiming.end_zombies(root, begun)),
        _tell(did, "runs of control flows were buried", reclaiming.end_lost_control_runs(root)),
        _tell(did, "suspended runs were let go", reclaiming.let_orphans_end(root)),
    )
    return did


async def _tell(did: list[str], what: str, work: Awaitable[int]) -> None:
    number = await work
    did += [f"{number} {what}"] if number else []


def _find(session: Session, root: Services) -> tuple[list[list[Standing]], list[Standing]]:
    """Items that something has to be done about, by why, and items whose suspended run is only to be looked after."""
    now, graces = root.now(), {stage: root.settings.grace_of(stage) for stage in WORKED}
    owned = [one for one in due.owned(session) if one.owner and is_over(root, one.item, one.owner)]
    looking = due.looking_again(session, now, limit=LOOKED_AT)
    groups = [
        sorted(owned, key=lambda one: one.item.hold is not None)[:AT_ONCE],  # those first that can go on
        rotated(due.decided(session, limit=AT_ONCE), now),
        [one for one in looking if not _waits_for(one, *ASKS_THE_FORGE, *ASKS_THE_TRACKER)],
        [one for one in looking if _waits_for(one, *ASKS_THE_FORGE)][:AT_ONCE],
        [one for one in looking if _waits_for(one, *ASKS_THE_TRACKER)][:AT_ONCE],
        rotated(due.abandoned(session, now, graces, limit=LOOKED_AT), now),
    ]
    decided = {one.item.id for group in groups for one in group}
    return groups, [one for one in due.unchecked(session, limit=CHECKED) if one.item.id not in decided]


def _waits_for(one: Standing, *kinds: WaitKind) -> bool:
    return one.wait is not None and one.wait.kind in kinds


async def _changed(root: Services, asked: list[Standing], seen: Observed) -> list[Standing]:
    """Of the items that a person is asked about, those whose run is not suspended, or whose person has decided."""
    answered = await root.store.aread(due.answered, [one.wait.id for one in asked if one.wait])
    return [
        one
        for one in asked
        if one.wait and (one.wait.id in answered or not _suspended(seen, one.wait.flow_run_id or ""))
    ][:AT_ONCE]


def _suspended(seen: Observed, run_id: str) -> bool:
    run = seen.named.get(run_id)
    return run is not None and run.state is not None and run.state.is_paused()


async def _heal(root: Services, found: Iterable[Standing], seen: Observed, guard: Guard, did: list[str]) -> None:
    """See to items one after the other until so many things were done; what was done is added to `did`."""
    for one in found:
        if len(did) >= AT_ONCE:
            break
        try:
            async with asyncio.timeout(ITEM_S):
                healed = await heal_one(root, one, seen, guard)
        except TimeoutError:
            log.warning("%s could not be looked at within %s s", one.item.key, ITEM_S)
            healed = f"could not be looked at within {ITEM_S} s"
            await root.store.awrite(_look_later, one, root)
        except OrchError as error:
            log.warning("%s could not be looked at: %s", one.item.key, error)
            healed = f"could not be looked at: {error}"
        except Exception as error:  # one item's trouble is said, and the others are looked at
            log.exception("%s could not be looked at", one.item.key)
            healed = f"could not be looked at: {error!r}"
        if healed is not None:
            did.append(f"{one.item.key}: {healed}")


def _look_later(session: Session, one: Standing, root: Services) -> None:
    """Those whose time has come since are not to wait behind it at the next tick."""
    if one.wait is not None and not one.wait.kind.human and one.wait.look_again_at is not None:
        waits.look_later(session, one.wait.id, root.now(), root.settings.ci_look_again_s)


async def stop_due(root: Services) -> list[str]:
    """Start the stop of items that are to be stopped and are not yet, unless a run is at it or on its way to it.

    One that cannot be started is said, and the others are started.
    """
    did: list[str] = []
    keys = [
        item.key
        for item in await root.store.aread(due.stopping, limit=AT_ONCE)
        if not await root.store.aread(stopping.stopped_elsewhere, item, root)
    ]
    for key in await without_a_run(root, "stop", keys):
        try:
            await prefect_api.start("stop", {"work_item": key})
            did.append(f"{key}: stop started")
        except Exception as error:  # one item's trouble is said, and the others are stopped
            log.exception("the stop of %s could not be started", key)
            did.append(f"{key}: its stop could not be started: {error!r}")
    return did
