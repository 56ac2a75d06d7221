"""What a tick does about items: those that are due are found by the store, Prefect is asked once about all of them."""

import logging
from collections.abc import Iterable

from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.stages import WORKED
from pipeline.store import due
from pipeline.store.due import Standing
from tasks import prefect_api, reclaiming, stopping
from tasks.guard import Guard
from tasks.healing import Observed, heal_one, is_over, observe
from tasks.services import Services

log = logging.getLogger("orch.due")

AT_ONCE = 50
"""Items that a tick does something about; the others come at the next ones, those due longest first."""

LOOKED_AT = 500
"""Items without a run that are looked at until so many are started: those that are left alone keep nobody waiting."""

CHECKED = prefect_api.PAGE
"""Suspended runs that a tick looks after, one page of Prefect's: all of them in turn."""


async def heal_due(root: Services) -> list[str]:
    """Do what is due about items; a sentence for each. One item's trouble is said, and the others are looked at."""
    pressing, asked = await root.store.aread(_find, root)
    seen = await observe([*pressing, *asked])
    did = await _heal(root, [*pressing, *await _changed(root, asked, seen)], seen)
    await root.store.awrite(due.checked, [one.wait.id for one in asked if one.wait], root.now())
    for what, number in (
        ("zombies were buried", await reclaiming.end_zombies(root, [r for runs in seen.begun.values() for r in runs])),
        ("runs of control flows were buried", await reclaiming.end_lost_control_runs(root)),
        ("suspended runs were let go", await reclaiming.let_orphans_end(root)),
    ):
        did += [f"{number} {what}"] if number else []
    return did


def _find(session: Session, root: Services) -> tuple[list[Standing], list[Standing]]:
    """Items that something has to be done about, and items whose suspended run is only to be looked after."""
    now, graces = root.now(), {stage: root.settings.grace_of(stage) for stage in WORKED}
    owned = [one for one in due.owned(session) if one.owner and is_over(root, one.item, one.owner)]
    pressing = [
        *sorted(owned, key=lambda one: one.item.hold is not None)[:AT_ONCE],  # those first that can go on
        *due.decided(session, limit=AT_ONCE),
        *due.looking_again(session, now, limit=AT_ONCE),
        *due.abandoned(session, now, graces, limit=LOOKED_AT),
    ]
    decided = {one.item.id for one in pressing}
    return pressing, [one for one in due.unchecked(session, limit=CHECKED) if one.item.id not in decided]


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


async def _heal(root: Services, found: Iterable[Standing], seen: Observed) -> list[str]:
    did: list[str] = []
    guard = Guard(root)
    for one in found:
        if len(did) >= AT_ONCE:
            break
        try:
            healed = await heal_one(root, one, seen, guard)
        except OrchError as error:
            log.warning("%s could not be looked at: %s", one.item.key, error)
            healed = f"could not be looked at: {error}"
        except Exception as error:  # one item's trouble is said, and the others are looked at
            log.exception("%s could not be looked at", one.item.key)
            healed = f"could not be looked at: {error!r}"
        if healed is not None:
            did.append(f"{one.item.key}: {healed}")
    return did


async def stop_due(root: Services) -> list[str]:
    """Start the stop of items that are to be stopped and are not yet, unless a living run is at it.

    One that cannot be started is said, and the others are started.
    """
    did: list[str] = []
    for item in await root.store.aread(due.stopping, limit=AT_ONCE):
        if await root.store.aread(stopping.stopped_elsewhere, item, root):
            continue
        try:
            await prefect_api.start("stop", {"work_item": item.key})
            did.append(f"{item.key}: stop started")
        except Exception as error:  # one item's trouble is said, and the others are stopped
            log.exception("the stop of %s could not be started", item.key)
            did.append(f"{item.key}: its stop could not be started: {error!r}")
    return did
