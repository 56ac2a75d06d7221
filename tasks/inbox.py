"""From deliveries to signals: stored first, understood as soon as the project's states are known, then applied.

Those that cannot be understood at once are the business of `tasks.pending`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session

from pipeline import decide
from pipeline.errors import FromLaterVersion, UnreadableDelivery
from pipeline.inbound.telegram import WAIT
from pipeline.model import Delivery, InboundSignal, StateChange
from pipeline.projects import Project
from pipeline.signals import DECISIONS, Signal
from pipeline.stages import Status
from pipeline.states import StateList, shown_for
from pipeline.store import deliveries, dependencies, inbox, items, outbox, reactions, waits
from tasks import buttons
from tasks.addressees import item_key, may_decide, project_of
from tasks.hearing import overtaken, polled_before, replayed_lately, told_late
from tasks.services import Services

log = logging.getLogger("orch.inbox")

AT_ONCE = DECISIONS | {Signal.STOP_REQUESTED, Signal.CARD_CLOSED}
"""Signals that are applied in the transaction that stores them; the others wake a run that applies them."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a delivery: `note` is one sentence for the log and for `orch deliveries`."""

    stored: bool
    note: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Own:
    """Who Orch is in the outside systems, all of its bots, so that its own echoes are not taken for people."""

    tracker_ids: frozenset[str]
    forge_login: str


class NotYet(Exception):
    """Project, card, states or Orch's own accounts are not known yet: nobody can tell what the delivery means."""


class ResolvedBefore(Exception):
    """Somebody else has resolved the delivery meanwhile: what was stored for it here must be rolled back."""


def receive(root: Services, delivery: Delivery, body: str, own: Own | None) -> Received:
    """Store a delivery, its signals and a person's decision in one transaction. Blocks: call it from a thread.

    Idempotent by content. Without `own` nobody can tell Orch's own echoes apart yet. A delivery that cannot be
    understood yet is stored all the same and resolved later.
    """
    if not delivery.signals:
        return Received(False, delivery.ignored_because)
    return root.store.write(_receive, root, delivery, body, own)


def _receive(session: Session, root: Services, delivery: Delivery, body: str, own: Own | None) -> Received:
    now = root.now()
    entries = [asdict(inbound) for inbound in delivery.signals]
    # A sender that does not name the project (older versions of Plane) has it looked up later.
    known = [one for one in delivery.signals if _is_button(one) or _may_be_ours(root, one)]
    if not known:
        return Received(False, f"No project of the registry is {delivery.signals[0].project_ref}.")
    number = deliveries.deliver(
        session,
        digest=delivery.digest,
        source=delivery.source,
        event=delivery.event,
        body=body,
        inbound=entries,
        now=now,
    )
    if number is None:
        return Received(False, "Delivered before.")
    try:
        with session.begin_nested():
            found = _understand(session, root, number, delivery.signals, own)
    except NotYet:
        return Received(True, "Stored; to be understood once Plane and Gitea have answered.")
    except FromLaterVersion as error:
        return Received(True, f"Stored; {error}")
    return _finish(session, root, number, found)


def resolve(root: Services, pending: deliveries.PendingDelivery, own: Own) -> Received | None:
    """Understand a stored delivery, now that states may be known; None when they still are not. Idempotent.

    Raises `UnreadableDelivery` for one that only a later version of Orch understands, and `FromLaterVersion` for one
    that is about an item which only such a version does.
    """
    try:
        return root.store.write(_resolve, root, pending, own)
    except NotYet:
        return None
    except ResolvedBefore:
        return Received(False, "Resolved before.")


def _resolve(session: Session, root: Services, pending: deliveries.PendingDelivery, own: Own) -> Received:
    found = _understand(session, root, pending.id, [as_inbound(entry) for entry in pending.inbound], own)
    return _finish(session, root, pending.id, found)


def _finish(session: Session, root: Services, number: int, found: Sequence[tuple[str, str]]) -> Received:
    note = "; ".join(f"{key}: {sentence}" if key else sentence for key, sentence in found)
    if not deliveries.resolved(session, number, note, root.now()):
        raise ResolvedBefore
    return Received(True, note, tuple(key for key, _ in found if key))


def _understand(
    session: Session, root: Services, number: int, entries: Sequence[InboundSignal], own: Own | None
) -> list[tuple[str, str]]:
    """Store and, where that needs no network, apply what the entries mean; (item key, sentence) for each."""
    return [_one(session, root, number, entry, own) for entry in entries]


def _may_be_ours(root: Services, entry: InboundSignal) -> bool:
    return not entry.project_ref or project_of(root, entry.project_ref) is not None


def _is_button(entry: InboundSignal) -> bool:
    return entry.item_ref.startswith(WAIT)


def _one(session: Session, root: Services, number: int, entry: InboundSignal, own: Own | None) -> tuple[str, str]:
    if _is_button(entry):
        return buttons.pressed(session, root, number, entry)
    if own is None:
        raise NotYet
    if not entry.project_ref:
        if _is_echo(entry, own):
            return "", "our own change"
        raise NotYet
    project = project_of(root, entry.project_ref)
    if project is None:
        return "", f"no project is {entry.project_ref}"
    if _is_echo(entry, own):
        return "", "our own change"  # not noted: a person may have moved the card on meanwhile
    if entry.state is not None or entry.signal is Signal.ANSWER_GIVEN:
        key = item_key(session, project, entry)
        if key is not None and told_late(session, key, entry):
            return key, "it tells of before the item came to where it stands"
    if overtaken(session, project, entry):
        return "", "its card was moved on since"
    if polled_before(session, project, entry):
        return "", "found by polling before"
    return _follow(session, root, project, number, entry, own)


def _follow(
    session: Session, root: Services, project: Project, number: int | None, entry: InboundSignal, own: Own
) -> tuple[str, str]:
    if _is_echo(entry, own):
        return "", "our own change"
    if (base := entry.payload.get("base", project.default_branch)) != project.default_branch:
        return "", f"its pull request wants into {base}"
    names = (entry.actor_id, entry.actor, str(entry.payload.get("email", "")))
    if entry.signal is Signal.ANSWER_GIVEN and not may_decide(root.settings.people, names):
        return "", f"{entry.actor or entry.actor_id} is not among ORCH_PEOPLE, whose comments decide"
    key = item_key(session, project, entry)
    if key is not None and entry.state is not None and (group := _group(root, project, entry.state)):
        dependencies.tracker_moved(session, key, group, root.now())
    signal = entry.signal or _meaning(session, root, project, entry.state, key)
    if signal is Signal.START_REQUESTED and key is None and "sequence_id" not in entry.payload:
        raise NotYet
    if signal is Signal.STOP_REQUESTED and not root.settings.stop_status_enabled:
        return "", "ORCH_STOP_STATUS_ENABLED is off"
    if signal is None:
        return "", f"state {entry.state.state_name if entry.state else ''} asks for nothing"
    if key is None:
        return "", f"{entry.item_ref} is no work item's"
    if signal is Signal.ANSWER_GIVEN and inbox.comment_heard(session, key, str(entry.payload.get("comment_id"))):
        return "", "that comment was heard before"
    now = root.now()
    if number is not None and entry.state is not None and replayed_lately(session, key, signal, now):
        return "", "found by polling before"
    stored = inbox.signal(
        session,
        delivery_id=number,
        project=project.key,
        item_key=key,
        signal=signal,
        actor=entry.actor or entry.actor_id or "a webhook",
        payload={**entry.payload, "item_ref": entry.item_ref, **_state_name(root, project, entry.state)},
        now=now,
    )
    at_once = signal in AT_ONCE or (signal is Signal.CI_FINISHED and not _may_wait_for_ci(session, key))
    consequence = reactions.apply(session, stored, now, root.texts) if at_once else None
    if consequence is None and outbox.event(session, signal.event, key, now):
        inbox.published(session, stored.id, now)
    return key, consequence or str(signal)


def _may_wait_for_ci(session: Session, key: str) -> bool:
    """CI runs for every push, at the later stages too, where nobody asks: no run has to be started to hear nothing."""
    item = items.latest(session, key)
    return item is not None and decide.may_wait_for_ci(item)


def replay(session: Session, root: Services, project: Project, entry: InboundSignal, own: Own) -> tuple[str, str]:
    """Store and apply what polling has found and no webhook has told, as if one had; (item key, sentence).

    The key is empty where nothing follows. Raises `NotYet` when the project's states are not known.
    """
    return _follow(session, root, project, None, entry, own)


def _is_echo(entry: InboundSignal, own: Own) -> bool:
    """Whether Orch itself caught its own change; never so of CI, which may well report under Orch's user."""
    if entry.signal is Signal.CI_FINISHED:
        return False
    # Not `actor`: a person's display name in Plane may well be the login of our token in Gitea.
    return entry.actor_id in own.tracker_ids or entry.actor_id == own.forge_login


def _meaning(
    session: Session, root: Services, project: Project, change: StateChange | None, key: str | None
) -> Signal | None:
    if change is None:
        return None
    known: StateList | None = root.states.cached(project)
    if known is None or not known.knows(change.state_id):
        raise NotYet
    signal = known.signal(change, ours=_shown_by_us(session, key))
    if signal is Signal.CARD_CLOSED and (key is None or items.find(session, key) is None):
        return None  # a card that Orch does not work on
    return signal


def _state_name(root: Services, project: Project, change: StateChange | None) -> dict[str, str]:
    """The name of the state that a card stands in, from the project's list: older Planes send the bare id."""
    known = root.states.cached(project)
    if change is None or known is None:
        return {}
    return {"state_name": next((state.name for state in known.states if state.id == change.state_id), "")}


def _group(root: Services, project: Project, change: StateChange) -> str:
    """The state group that the card stands in now, as far as anybody has told."""
    known = root.states.cached(project)
    return (known.group(change.state_id) if known else "") or change.state_group


def _shown_by_us(session: Session, key: str | None) -> set[Status]:
    """What Orch shows on the item's card, or is about to."""
    item = items.latest(session, key) if key else None
    if item is None:
        return set()
    about_to = shown_for(item, waits.open_wait(session, item.id))
    return {about_to, item.shown} if item.shown else {about_to}


def as_inbound(entry: Mapping[str, Any]) -> InboundSignal:
    """What is stored of a delivery, as it was understood. Raises `UnreadableDelivery` for what another version stored."""
    try:
        state, signal = entry.get("state"), entry.get("signal")
        return InboundSignal(
            project_ref=entry["project_ref"],
            item_ref=entry["item_ref"],
            signal=Signal(signal) if signal else None,
            state=StateChange(**state) if state else None,
            actor=entry["actor"],
            actor_id=entry["actor_id"],
            payload=entry["payload"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableDelivery(
            f"Another version of Orch has stored it, and this one does not understand it: {error!r}. It waits for that "
            "version."
        ) from error


async def identify(root: Services) -> Own:
    """Who the configured tokens belong to. Raises `Unavailable` or `Refused`."""
    return Own(await root.tracker.own_ids(), await root.forge.own_login())
