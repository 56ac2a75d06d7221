"""Signals that nobody has applied yet: announced again when they are due, and applied when that was in vain."""

import asyncio
import logging

from sqlmodel import Session

from pipeline.store import inbox, outbox
from tasks.services import Services
from tasks.signals import drain
from tasks.turns import rotated

log = logging.getLogger("orch.republishing")


DRAIN_S = 5
"""How long one item's signals may take; at the next tick another item comes first."""


async def publish_again(root: Services) -> list[str]:
    """Announce unconsumed signals again when they are due; apply those that were announced in vain. What followed.

    One item's trouble is said, and the others are looked at.
    """
    did: list[str] = []
    in_vain: dict[str, None] = {}
    for stored in await root.store.aread(inbox.unconsumed):
        try:
            if inbox.overdue(stored, root.settings.republish_s, root.now()):
                in_vain[stored.item_key] = None
            else:
                await _announce_when_due(root, stored)
        except Exception as error:  # one item's trouble is said, and the others are looked at
            log.exception("%s: %s could not be published again", stored.item_key, stored.signal)
            did.append(f"{stored.item_key}: {stored.signal} could not be published again: {error!r}")
    for key in rotated(list(in_vain), root.now()):
        did += [f"{key}: {followed}" for followed in await _drained(root, key)]
    return did


async def _drained(root: Services, key: str) -> list[str]:
    try:
        async with asyncio.timeout(DRAIN_S):
            return await drain(root, key)
    except TimeoutError:
        log.warning("%s: its signals could not be applied within %s s", key, DRAIN_S)
        return [f"its signals could not be applied within {DRAIN_S} s"]
    except Exception as error:  # one item's trouble is said, and the others are looked at
        log.exception("%s: its signals could not be applied", key)
        return [f"its signals could not be applied: {error!r}"]


async def _announce_when_due(root: Services, stored: inbox.StoredSignal) -> None:
    if stored.published == 0 or inbox.due_again(stored, root.settings.republish_s, root.now()):
        await root.store.awrite(_announce, stored, root)


def _announce(session: Session, stored: inbox.StoredSignal, root: Services) -> None:
    outbox.event(session, stored.signal.event, stored.item_key, root.now())
    inbox.published(session, stored.id, root.now())
