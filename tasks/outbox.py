"""Sending what the outbox holds: events, comments, statuses, messages and landings, each until it went."""

import asyncio
import logging
from collections.abc import Sequence

from sqlmodel import Session

from pipeline import states
from pipeline.errors import InDoubt, OrchError, Refused, Unavailable
from pipeline.model import Button, Wait, WorkItem
from pipeline.stages import Status
from pipeline.store import items, outbox, reactions, sightings, waits
from pipeline.store.outbox import Kind, Letter
from tasks import cards, overwritten, prefect_api
from tasks.services import Services

log = logging.getLogger("orch.outbox")

UNHEARD_S = 30.0
"""How long a card that a person has just moved is left as it is: by then a webhook or the tick has told of it."""


IN_DOUBT_S = 600.0
"""How long a message waits that Telegram may have: rather late than five times."""


OWN_MOVE_TRIES = 2
"""How often Plane's log of a card is waited for to tell of Orch's own move."""


async def deliver(root: Services, item_key: str | None = None, *, kinds: Sequence[Kind] = tuple(Kind)) -> int:
    """Send what is due, of one item or of all; how many letters went. Safe to run in several processes at once."""
    return await send(root, await due(root, item_key, kinds=kinds))


async def due(root: Services, item_key: str | None = None, *, kinds: Sequence[Kind] = tuple(Kind)) -> list[Letter]:
    """Take what is to be sent now; nobody else gets these letters for a while, so `send` them at once."""
    return await root.store.awrite(outbox.claim, root.now(), item_key=item_key, kinds=kinds)


async def send(root: Services, letters: Sequence[Letter]) -> int:
    """Send letters side by side; how many went. One that fails is put back, to be tried again later."""
    return sum(await asyncio.gather(*(_send_one(root, letter) for letter in letters)))


async def _send_one(root: Services, letter: Letter) -> bool:
    try:
        await _SENDERS[letter.kind](root, letter)
    except Unavailable as error:
        in_doubt = isinstance(error, InDoubt) and letter.kind in outbox.ONCE
        wait_s = IN_DOUBT_S if in_doubt else error.retry_after
        await root.store.awrite(outbox.failed, letter.id, str(error), root.now(), wait_s=wait_s)
    except Refused as error:
        log.warning("%s: %s was refused: %s", letter.item_key, letter.kind, error)
        await root.store.awrite(outbox.refused, letter.id, str(error), root.now())
    except OrchError as error:
        await root.store.awrite(outbox.failed, letter.id, str(error), root.now())
    except Exception as error:
        log.exception("%s: %s could not be sent", letter.item_key, letter.kind)
        await root.store.awrite(outbox.failed, letter.id, repr(error), root.now())
    else:
        await root.store.awrite(outbox.sent, letter.id, root.now())
        return True
    return False


async def _event(root: Services, letter: Letter) -> None:
    await prefect_api.post_event(letter.payload, prefect_api.new_event_id(), root.now())


async def _comment(root: Services, letter: Letter) -> None:
    project = root.projects.of_work_item(letter.item_key)
    item = await root.store.aread(items.latest, letter.item_key)
    tracker_id = letter.payload.get("tracker_id") or (item.tracker_id if item else None)
    if project is None or tracker_id is None:
        raise Refused(f"{letter.item_key} has no project or no card to comment on.")
    await root.tracker.comment(
        project,
        str(tracker_id),
        str(letter.payload["html"]),
        external_id=str(letter.payload["external_id"]),
        voice=str(letter.payload.get("voice", "")),
    )


async def _message(root: Services, letter: Letter) -> None:
    if root.messenger is None:
        raise Refused("No Telegram bot is configured.")
    buttons = [Button(**button) for button in letter.payload.get("buttons", ())]
    await root.messenger.send(str(letter.payload["html"]), buttons=buttons)
    if moved := root.messenger.moved:
        await root.store.awrite(
            reactions.say, letter.item_key, root.texts("chat_moved", chat=moved), f"moved:{moved}", root.now()
        )


async def _card(root: Services, letter: Letter) -> None:
    await cards.show(root, letter.item_key)


async def _pressed(root: Services, letter: Letter) -> None:
    """Tell the person who pressed a button what became of it, and take the buttons off when they are of no use any more."""
    if root.messenger is None:
        raise Refused("No Telegram bot is configured.")
    await root.messenger.answer(str(letter.payload["press"]), str(letter.payload["text"]))
    if letter.payload.get("message"):
        await root.messenger.take_buttons_off(str(letter.payload["message"]))


async def _pull(root: Services, letter: Letter) -> None:
    project = root.projects.of_work_item(letter.item_key)
    if project is None:
        raise Refused(f"{letter.item_key} belongs to no project of the registry.")
    await root.forge.mark_landed(project, number=int(letter.payload["pull"]), commit=str(letter.payload["commit"]))


def _item_and_wait(session: Session, key: str) -> tuple[WorkItem, Wait | None] | None:
    item = items.latest(session, key)
    return (item, waits.open_wait(session, item.id)) if item else None


async def _status(root: Services, letter: Letter) -> None:
    """Show what is true now, not what was when the letter was written: the last of several letters is right.

    What is true may change while Plane answers, and another sender may have shown it first: looked at again afterwards.
    """
    if outbox.REFUSED in letter.payload:
        await _show_refused(root, letter)
        return
    found = await root.store.aread(_item_and_wait, letter.item_key)
    while found is not None:
        await _show(root, *found, first=letter.tries < OWN_MOVE_TRIES)
        seen, found = found, await root.store.aread(_item_and_wait, letter.item_key)
        if found is None or states.shown_for(*found) is states.shown_for(*seen):
            return


async def _show(root: Services, item: WorkItem, wait: Wait | None, *, first: bool) -> None:
    """Have the card show where the item stands, without unsaying what a person says on it; `first` of all tries."""
    project = root.project(item.project)
    wanted = states.shown_for(item, wait)
    card = await root.tracker.item(project, item.tracker_id)
    known = await root.states.of(project, having=card.state_id)
    target = known.id_of(wanted)
    if target is None:
        raise Refused(f"Project {project.key} has no state for {wanted}, nor one that could stand for it.")
    current = known.status(card.state_id) if known.knows(card.state_id) else None
    if card.state_id != target:
        if not states.may_overwrite(current, item, wanted) and not await overwritten.is_ours(
            root, project, item, known, card
        ):
            return
        if current in states.SIGNALS and await root.store.aread(_unheard, root, item, card.state_id):
            raise Unavailable(f"{item.key} was moved to {current}, which nobody has told yet.", retry_after=UNHEARD_S)
        await root.tracker.set_state(project, item.tracker_id, target)
    await overwritten.hear(root, project, item, known, target, wait=first)
    await root.store.awrite(_shown, item, known.status(target), target)


async def _show_refused(root: Services, letter: Letter) -> None:
    """A card that was not let in has no item and is shown as blocked; one that was let in since is left as it is."""
    if await root.store.aread(items.find, letter.item_key) is not None:
        return
    project = root.projects.of_work_item(letter.item_key)
    if project is None:
        raise Refused(f"{letter.item_key} belongs to no project of the registry.")
    target = (await root.states.of(project)).id_of(Status.BLOCKED)
    if target is None:
        raise Refused(f"Project {project.key} has no state that could stand for blocked.")
    await root.tracker.set_state(project, str(letter.payload[outbox.REFUSED]), target)


def _unheard(session: Session, root: Services, item: WorkItem, state_id: str) -> bool:
    """Whether a card says a person's word of which neither a webhook nor polling has brought anything yet.

    Showing our state over it would unsay it for good. Without polling nobody would find it; then ours is shown.
    """
    if not (root.settings.reconcile_enabled and root.settings.reconcile_plane_enabled):
        return False
    seen = sightings.last(session, sightings.board(item.project), [item.tracker_id]).get(item.tracker_id)
    return seen is not None and seen.state != state_id


def _shown(session: Session, item: WorkItem, status: object, state_id: str) -> None:
    """Note what the card shows, and that it is our own doing."""
    row = items.lock(session, item.id)
    row.shown = str(status) if status is not None else None
    session.add(row)
    sightings.stands(session, sightings.board(item.project), item.tracker_id, state_id, changed_at=None)


_SENDERS = {
    Kind.EVENT: _event,
    Kind.COMMENT: _comment,
    Kind.MESSAGE: _message,
    Kind.STATUS: _status,
    Kind.CARD: _card,
    Kind.PRESSED: _pressed,
    Kind.PULL: _pull,
}
