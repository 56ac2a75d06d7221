"""Signals that are on record and have not been applied: what they mean for their item is decided here, outside of a stage."""

import logging

from pipeline.errors import OrchError
from pipeline.store import inbox, reactions
from tasks import reviews
from tasks.services import Services

log = logging.getLogger("orch.signals")


async def drain(root: Services, key: str) -> list[str]:
    """Apply the item's unconsumed signals in order; what followed. Those that must wait are left.

    So is one that raises what nobody expected: that is said, and the ones after it are applied.
    """
    followed: list[str] = []
    for stored in await root.store.aread(inbox.unconsumed, key):
        try:
            whole = await reviews.completed(root, stored)
            consequence = await root.store.awrite(reactions.apply, whole, root.now(), root.texts)
        except OrchError as error:
            log.info("%s: %s waits: %s", key, stored.signal, error)
            continue
        except Exception as error:  # one signal's trouble is said, and the others are applied
            log.exception("%s: %s could not be applied", key, stored.signal)
            consequence = f"could not be applied: {error!r}"
        if consequence is not None:
            followed.append(f"{stored.signal}: {consequence}")
    return followed
