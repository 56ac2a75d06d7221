"""Whether a person's review counts: a webhook does not tell, so the forge is asked before its signal is applied."""

import logging
from dataclasses import replace

from pipeline.errors import Missing
from pipeline.model import ReviewKind
from pipeline.signals import Signal
from pipeline.store.inbox import StoredSignal
from tasks.services import Services

log = logging.getLogger("orch.reviews")


async def completed(root: Services, stored: StoredSignal) -> StoredSignal:
    """The signal with `official` in its payload, where it requests changes: whether that verdict counts now.

    A verdict of somebody who may not write, or that was dismissed or taken back meanwhile, does not. Other signals come
    back as they are, without a call. Raises `Unavailable` or `Refused` where the forge cannot tell: it is asked again.
    """
    if stored.signal is not Signal.REVIEW_SUBMITTED or stored.payload.get("kind") != ReviewKind.REJECTED:
        return stored
    project, reviewer, number = (
        root.project(stored.project),
        stored.payload.get("reviewer"),
        stored.payload.get("number"),
    )
    try:
        reviews = await root.forge.reviews(project, int(number or 0))
    except Missing:
        log.info("%s: pull request #%s is gone, and its reviews with it", stored.item_key, number)
        reviews = ()
    official = any(one.rejects and one.reviewer == reviewer for one in reviews)
    return replace(stored, payload={**stored.payload, "official": official})
