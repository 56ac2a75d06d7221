"""The live message about each item: one, silent, showing what is true; edited in place, or sent anew below the others."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from pipeline.errors import OrchError, Refused, Unavailable
from pipeline.messages import Markup, Texts, lines, link
from pipeline.model import Wait, WorkItem
from pipeline.ports import Messenger
from pipeline.stages import Stage
from pipeline.store import cards, evidence, items, waits
from pipeline.store.cards import Card
from tasks import links
from tasks.services import Services

log = logging.getLogger("orch.cards")

BUSY_S = 2.0
"""Seconds until a card is tried again that somebody else is still writing to."""

LOOKS, LOOK_S = 10, 0.1
"""How often, and how many seconds apart, it is looked whether that one is done."""

LONGEST_REASON = 700
LONGEST_TITLE = 250
"""Characters of a reason and of a title on a card."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an item's card is made from."""

    item: WorkItem
    wait: Wait | None
    cost_usd: float
    labels: tuple[str, ...] = ()


async def show(root: Services, key: str) -> None:
    """Have the live message show what is true now. Idempotent; at most one new message a call.

    Raises `Unavailable` when somebody else is writing to the card just now, and what the messenger raises.
    """
    if root.messenger is None:
        raise Refused("No Telegram bot is configured.")
    item = await root.store.aread(items.latest, key)
    if item is None:
        raise Refused(f"There is no work item {key} to show.")
    card = await _taken(root, item)
    try:
        html = await _rendered(root, key)
        if card.message is None or card.says != _digest(html):
            message = await _shown(root.messenger, card, html, bump=root.settings.bumps_cards)
            await root.store.awrite(cards.point, replace(card, message=message, says=_digest(html)))
    finally:
        await root.store.awrite(cards.put_back, item.id)


async def _taken(root: Services, item: WorkItem) -> Card:
    """The card, for us alone."""
    for _ in range(LOOKS):
        card = await root.store.awrite(cards.take, item.id, root.now())
        if card is not None:
            return card
        await asyncio.sleep(LOOK_S)
    raise Unavailable(f"The live message about {item.key} is being written to.", retry_after=BUSY_S)


async def _shown(messenger: Messenger, card: Card, html: str, *, bump: bool) -> str:
    """Show `html`; the message that shows it."""
    if card.message is not None and bump:
        await _deleted(messenger, card.message)
    elif card.message is not None and await messenger.edit(card.message, html):
        return card.message
    return await messenger.send(html, silent=True)


async def _deleted(messenger: Messenger, message: str) -> None:
    """Delete the old message if that works; the new one goes out all the same."""
    try:
        await messenger.delete(message)
    except OrchError as error:
        log.info("an old card stays: %s", error)


async def _rendered(root: Services, key: str) -> str:
    seen = await root.store.aread(_look, key)
    return render(root, seen)


def _look(session: Session, key: str) -> Seen:
    item = items.latest(session, key)
    if item is None:
        raise Refused(f"There is no work item {key} to show.")
    runs = evidence.agent_runs(session, item.id)
    actors = (decision.actor for decision in waits.decisions(session, item.id))
    labels = tuple(dict.fromkeys(who.removeprefix(waits.BY_LABEL) for who in actors if who.startswith(waits.BY_LABEL)))
    return Seen(item, waits.open_wait(session, item.id), sum(run.usage.cost_usd for run in runs), labels)


def render(root: Services, seen: Seen) -> str:
    """The card's HTML."""
    item, texts, settings = seen.item, root.texts, root.settings
    project = root.projects.get(item.project)
    repository = project.repository if project else ""
    spent = ", ".join(f"{texts(f'role {role}')} {count}" for role, count in item.attempts.items() if count)
    return lines(
        Markup(f"📌 <b>{link(links.issue(settings, item), item.key)}</b> {_escaped(texts, item.title, LONGEST_TITLE)}"),
        Markup(texts("card_stage", stage=texts(f"stage {item.stage}"), visit=item.visit)),
        Markup(_standing(texts, item, seen.wait)),
        Markup(texts("card_attempts", spent=spent) if spent else ""),
        *(Markup(texts("card_label", label=label)) for label in seen.labels),
        Markup(texts("card_cost", cost=f"{seen.cost_usd:.2f}")),
        _links(texts, [
            ("link_pull", links.pull(settings, repository, item) if repository else ""),
            ("link_artifacts", links.artifacts(settings, repository, item) if repository else ""),
        ]),
    )  # fmt: skip


def _standing(texts: Texts, item: WorkItem, wait: Wait | None) -> str:
    """What the item does or waits for, with the reason."""
    if item.stage is Stage.DONE:
        return texts("card_done", commit=(item.landed or "")[:12]) if item.landed else texts("card_done_by_hand")
    if item.stage is Stage.CANCELLED:
        return texts("card_cancelled")
    if item.cancel_requested_at is not None:
        return texts("card_stopping")
    if item.hold is not None:
        return texts(f"card_{item.hold}", reason=_cut(item.hold_reason, LONGEST_REASON))
    if wait is not None:
        return texts("card_waits", for_what=texts(f"wait {wait.kind}"), reason=_cut(wait.sentence, LONGEST_REASON))
    return texts("card_at_work")


def _links(texts: Texts, found: Sequence[tuple[str, str]]) -> Markup:
    return Markup(" · ".join(link(url, texts(key)) for key, url in found if url))


def _escaped(texts: Texts, text: str, longest: int) -> str:
    return texts("ignored", why=_cut(text, longest))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _digest(html: str) -> str:
    return hashlib.sha256(html.encode(errors="replace")).hexdigest()
