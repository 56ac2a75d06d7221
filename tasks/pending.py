"""Deliveries that were stored and not understood: tried again until they are, one by one, whatever the others do."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import OrchError, Refused, Unavailable
from pipeline.store import deliveries
from tasks.addressees import project_of
from tasks.inbox import Own, Received, as_inbound, resolve
from tasks.services import Services

log = logging.getLogger("orch.pending")

UNKNOWN = "unknown to Orch"
"""Stands for the project of a card that none of the registry's projects has."""


ASK_S = 12
"""How long may be asked about one delivery."""


@dataclass
class _Asked:
    """What asking has come to: projects that could not be asked, and whether Plane is silent."""

    failed: set[str] = field(default_factory=set)
    silent: bool = False


async def resolve_pending(root: Services, own: Own) -> tuple[str, ...]:
    """Ask for the states that stored deliveries need and resolve them; the keys of the items that moved.

    A project whose states cannot be read leaves its deliveries pending, whatever the reason, and does not touch the
    others'. Only a state that a list read just now does not have is given up. Once Plane has not answered in time it is
    not asked again: what needs no answer is resolved all the same.
    """
    moved: list[str] = []
    asked = _Asked()
    after = 0
    while page := await root.store.aread(deliveries.pending, after=after):
        after = page[-1].id
        for stored in page:
            try:
                moved += await _try_pending(root, stored, own, asked)
            except OrchError as error:
                await _set_aside(root, stored, str(error))
            except Exception as error:  # one delivery's trouble is said, and the others are looked at
                log.exception("delivery %s could not be looked at", stored.id)
                await _set_aside(root, stored, f"A bug in Orch keeps it from being understood: {error!r}.")
    return tuple(moved)


async def _set_aside(root: Services, stored: deliveries.PendingDelivery, why: str) -> None:
    """Leave a delivery pending and say why: once in the log, and in `orch deliveries --failed` for as long as it lasts."""
    if await root.store.awrite(deliveries.noted, stored.id, why):
        log.warning("delivery %s is set aside: %s", stored.id, why)


async def _try_pending(root: Services, stored: deliveries.PendingDelivery, own: Own, asked: _Asked) -> tuple[str, ...]:
    """Resolve one delivery if that can be done; projects that could not be asked are noted in `asked`."""
    pending, refs = stored, {as_inbound(entry).project_ref for entry in stored.inbound}
    hopeless = ""
    try:
        if not asked.silent and not refs & asked.failed:
            async with asyncio.timeout(ASK_S):
                pending = await _completed(root, stored)
                hopeless = await _learn(root, pending)
    except TimeoutError:
        log.info("delivery %s stays pending: Plane has not answered within %s s", pending.id, ASK_S)
        asked.silent = True
    except OrchError as error:
        log.info("delivery %s stays pending: %s", pending.id, error)
        asked.failed |= refs
    if hopeless:
        log.warning("delivery %s cannot be understood: %s", pending.id, hopeless)
        await root.store.awrite(deliveries.resolved, pending.id, f"{deliveries.GIVEN_UP}{hopeless}", root.now())
        return ()
    done = await _resolve_one(root, pending, own)
    return done.items if done is not None else ()


async def _completed(root: Services, pending: deliveries.PendingDelivery) -> deliveries.PendingDelivery:
    """The delivery with what its sender has left out about moved cards, read from the tracker."""
    return replace(pending, inbound=tuple([await _complete(root, entry) for entry in pending.inbound]))


async def _complete(root: Services, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    payload = entry["payload"]
    if not entry.get("state") or (entry["project_ref"] and "sequence_id" in payload):
        return entry
    project = project_of(root, entry["project_ref"])
    for candidate in [project] if project else root.projects.values():
        with contextlib.suppress(Refused):  # another project's card, or one that is gone
            card = await root.tracker.item(candidate, entry["item_ref"])
            told = {"sequence_id": card.sequence_id, "title": card.title, "description": card.description}
            return {**entry, "project_ref": card.project_id, "payload": {**told, **payload}}
    return {**entry, "project_ref": entry["project_ref"] or UNKNOWN, "payload": {"sequence_id": None, **payload}}


async def _learn(root: Services, pending: deliveries.PendingDelivery) -> str:
    """Have the states that a delivery needs; why it can never be understood, empty when it can be."""
    for entry in pending.inbound:
        project = project_of(root, entry["project_ref"])
        if project is None or not entry.get("state"):
            continue
        before, wanted = root.states.cached(project), entry["state"]["state_id"]
        known = await root.states.of(project, having=wanted)
        if known.knows(wanted):
            continue
        if known is before:
            raise Unavailable(f"the states of {project.key} are old and lack {wanted}, and could not be read again")
        return f"Plane project {project.key} has no state {wanted}."
    return ""


async def _resolve_one(root: Services, pending: deliveries.PendingDelivery, own: Own) -> Received | None:
    return await asyncio.to_thread(resolve, root, pending, own)
