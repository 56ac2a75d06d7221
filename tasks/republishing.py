"""Signals that nobody has applied yet: announced again when they are due, and applied when that was in vain."""

import logging

from sqlmodel import Session

from pipeline.store import inbox, outbox
from tasks.healing import drain
from tasks.services import Services

log = logging.getLogger("orch.republishing")


async def publish_again(root: Services) -> list[str]:
    """Announce unconsumed signals again when they are due; apply those that were announced in vain. What followed.

    One item's trouble is said, and the others are looked at.
    """
    did: list[str] = []
    drained: set[str] = set()
    for stored in await root.store.aread(inbox.unconsumed):
        try:
            if not inbox.overdue(stored, root.settings.republish_s, root.now()):
                await _announce_when_due(root, stored)
            elif stored.item_key not in drained:
                drained.add(stored.item_key)
                did += [f"{stored.item_key}: {followed}" for followed in await drain(root, stored.item_key)]
        except Exception as error:  # one item's trouble is said, and the others are looked at
            log.exception("%s: %s could not be published again", stored.item_key, stored.signal)
            did.append(f"{stored.item_key}: {stored.signal} could not be published again: {error!r}")
    return did


async def _announce_when_due(root: Services, stored: inbox.StoredSignal) -> None:
    if stored.published == 0 or inbox.due_again(stored, root.settings.republish_s, root.now()):
        await root.store.awrite(_announce, stored, root)


def _announce(session: Session, stored: inbox.StoredSignal, root: Services) -> None:
    outbox.event(session, stored.signal.event, stored.item_key, root.now())
    inbox.published(session, stored.id, root.now())
