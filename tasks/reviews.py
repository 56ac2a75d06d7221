"""Whether a person's review counts: a webhook does not tell, so the forge is asked before its signal is applied."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import Missing, Refused
from pipeline.model import Review, ReviewKind, ReviewRemark
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.store.inbox import StoredSignal
from tasks.services import Services

log = logging.getLogger("orch.reviews")


async def completed(root: Services, stored: StoredSignal) -> StoredSignal:
    """The signal with `official` in its payload, where it requests changes, and with the `text` of what it says.

    `official` tells whether that verdict counts now. One of somebody who may not write, or that was dismissed or taken back
    meanwhile, does not. Other signals come back as they are, without a call. Raises `Unavailable` or `Refused` where the
    forge cannot tell: it is asked again.
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
    verdicts = [one for one in reviews if one.rejects and one.reviewer == reviewer]
    text = await _said(root, project, int(number or 0), verdicts[-1]) if verdicts else ""
    return replace(stored, payload={**stored.payload, "official": bool(verdicts), "text": text})


async def _said(root: Services, project: Project, number: int, review: Review) -> str:
    """What a review says, its remarks on single lines included, for whoever has to deal with it.

    The verdict counts although the forge keeps the remarks to itself.
    """
    remarks: Sequence[ReviewRemark] = ()
    try:
        remarks = await root.forge.review_remarks(project, number, review.id) if review.remarks else ()
    except Refused as error:
        log.warning("pull request #%s: the remarks of %s cannot be read: %s", number, review.reviewer, error)
    lines = [f"- {one.path}{f':{one.line}' if one.line else ''}: {one.text}" for one in remarks]
    return "\n".join(filter(None, (review.text, *lines)))
