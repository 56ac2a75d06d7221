"""Applying signals: what `decide.on_signal` says, done in the transaction that consumes the signal."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlmodel import Session

from pipeline import decide, signals
from pipeline.messages import Texts, as_comment
from pipeline.model import Button, Decision, Hold, WorkItem
from pipeline.reaction import Back, Finish, HoldIt, Ignore, Later, Look, Reaction, Record, Resume, Start, Stop
from pipeline.signals import Signal
from pipeline.stages import ROWS, STREAM, Stage
from pipeline.store import evidence, inbox, items, leases, outbox, waits

IGNORED = "ignored: "
"""How the consequence of a signal begins from which nothing follows."""


def standing(session: Session, key: str) -> decide.Standing:
    """The item with this key as a signal finds it."""
    item = items.latest(session, key)
    if item is None or item.stage not in ROWS:
        cancelled = item is not None and item.cancelled_at is not None
        return decide.Standing(None if cancelled else item)
    run = evidence.agent_run_of_visit(session, item, ROWS[item.stage].role)
    return decide.Standing(item, waits.open_wait(session, item.id), worked=run is not None)


def apply(session: Session, stored: inbox.StoredSignal, now: datetime, texts: Texts) -> str | None:
    """Apply one signal; what followed, or None when it has to wait (for intake, or for the item's living owner).

    Idempotent: a signal that was consumed meanwhile changes nothing.
    """
    found = standing(session, stored.item_key)
    reaction = decide.on_signal(found, stored.signal, stored.payload)
    if isinstance(reaction, Start | Later):
        return None
    stopping = found.item is not None and found.item.cancel_requested_at is not None
    if stopping and stored.signal is Signal.START_REQUESTED:
        return None  # a fresh start, once the stop is through
    waits_for_owner = isinstance(reaction, Look | Resume | Back | Finish)
    of_ci = stored.signal is Signal.CI_FINISHED and found.item is not None and decide.may_wait_for_ci(found.item)
    if found.item is not None and (waits_for_owner or of_ci):
        holder = leases.owner(session, found.item.id)
        if holder is not None and holder.expires_at > now:
            return None
    consequence = _sentence(reaction)
    if not inbox.consume(session, stored.id, consequence, now):
        return consequence
    if stored.signal is Signal.STOP_REQUESTED:
        _withdraw_starts(session, stored, now)
    _act(session, found, reaction, stored, now, texts)
    return consequence


def _withdraw_starts(session: Session, stop: inbox.StoredSignal, now: datetime) -> None:
    """Whoever stops an item has changed their mind about a start of it that is still to be heard, too."""
    for stored in inbox.unconsumed(session, stop.item_key):
        if stored.signal is Signal.START_REQUESTED and stored.id < stop.id:
            inbox.consume(session, stored.id, "withdrawn: it was stopped before it began", now)


def _act(
    session: Session,
    found: decide.Standing,
    reaction: Reaction,
    stored: inbox.StoredSignal,
    now: datetime,
    texts: Texts,
) -> None:
    item = found.item
    if isinstance(reaction, Ignore) and reaction.tell:
        tell(session, stored.item_key, texts("ignored", why=reaction.why), f"ignored:{stored.id}", now)
        if item is not None:
            outbox.status(session, item.key, now)  # the card shows again where the item stands
    if item is None:
        return
    match reaction:
        case Resume(why) | Look(why):
            look_again(session, item, why, now)
        case Record(kind, choice, commit, text):
            decision = Decision(kind, choice, commit, stored.actor, text, now)
            if waits.decide(session, item, decision):
                resume(session, item, now)
        case Back(to, why, spend, text):
            let_go(session, item, now)
            items.move(
                session,
                item,
                to,
                actor=stored.actor,
                reason=why,
                run=None,
                token=None,
                now=now,
                spend=spend,
                feedback=f"{why}\n\n{text}" if text else why,
            )
            outbox.enter(session, item.key, to, now)
            outbox.status(session, item.key, now)
        case HoldIt(why, kind):
            let_go(session, item, now)
            hold(session, item, kind, why, now, texts)
        case Finish(why):
            let_go(session, item, now)
            items.move(session, item, Stage.DONE, actor=stored.actor, reason=why, run=None, token=None, now=now)
            outbox.status(session, item.key, now)
            html = texts("done_by_hand", key=item.key, title=item.title, why=why)
            say(session, item.key, html, f"done:{item.id}", now)
            tell(session, item.key, html, f"done:{item.id}", now, voice=STREAM)
        case Stop():
            request_stop(session, item, now)
        case Ignore() | Start() | Later():
            pass


def look_again(session: Session, item: WorkItem, why: str, now: datetime) -> None:
    """Let the stage run: a hold is lifted, a machine's wait closed."""
    if item.hold is not None:
        items.unhold(session, item.id, reset=ROWS[item.stage].role)
    wait = waits.open_wait(session, item.id)
    if wait is None or not wait.kind.human:
        waits.close(session, item.id, why, now)
        outbox.enter(session, item.key, item.stage, now)
        outbox.status(session, item.key, now)


def resume(session: Session, item: WorkItem, now: datetime) -> None:
    """Have the item's suspended run resumed; noted on its wait until it really was."""
    wait = waits.request_wake(session, item.id, now)
    if wait is not None and wait.flow_run_id is not None:
        outbox.event(session, signals.WAIT_ANSWERED, item.key, now, resume=wait.flow_run_id)


def let_go(session: Session, item: WorkItem, now: datetime) -> None:
    """Have a suspended run of the item resumed so that it sees that it is not needed any more, and ends."""
    wait = waits.open_wait(session, item.id)
    if wait is not None and wait.kind.human and wait.flow_run_id is not None:
        outbox.event(session, signals.WAIT_ANSWERED, item.key, now, resume=wait.flow_run_id)


def hold(
    session: Session, item: WorkItem, kind: Hold, why: str, now: datetime, texts: Texts, *, text: str = ""
) -> None:
    """Hold the item and tell people, once for this stage, visit and reason; in the words of `text`, if given."""
    items.hold(session, item.id, kind, why, now)
    html = texts(text or kind.value, key=item.key, title=item.title, stage=item.stage, reason=why)
    dedupe = f"{kind}:{item.id}:{item.stage}:{item.visit}:{hash_of(why)}"
    say(session, item.key, html, dedupe, now)
    tell(session, item.key, html, dedupe, now, voice=STREAM)
    outbox.status(session, item.key, now)


def request_stop(session: Session, item: WorkItem, now: datetime) -> None:
    """Note that the item is to be stopped; the stop flow does it. Idempotent."""
    row = items.lock(session, item.id)
    row.cancel_requested_at = row.cancel_requested_at or now
    session.add(row)
    outbox.event(session, Signal.STOP_REQUESTED.event, item.key, now)


def say(session: Session, key: str, html: str, dedupe: str, now: datetime, *, buttons: Sequence[Button] = ()) -> bool:
    """A message to people, once per `dedupe`; False when it was said before.

    It makes a sound: what may be silent is on the item's live message.
    """
    payload = {"html": html, "buttons": [asdict(button) for button in buttons]}
    return outbox.put(session, outbox.Kind.MESSAGE, key, payload, now, dedupe=f"message:{dedupe}")


def tell(session: Session, key: str, html: str, dedupe: str, now: datetime, *, voice: str = "") -> None:
    """A comment on the item's card, once per `dedupe`; `voice` is a role, or `STREAM` for what tells of a transition."""
    payload = {"html": as_comment(html), "external_id": dedupe, "voice": voice}
    outbox.put(session, outbox.Kind.COMMENT, key, payload, now, dedupe=f"comment:{dedupe}")


def hash_of(text: str) -> str:
    """A short stable fingerprint of a sentence, to tell reasons apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sentence(reaction: Reaction) -> str:
    match reaction:
        case Record(kind, choice, commit, _):
            return f"{choice} recorded for the {kind} of {commit[:12]}"
        case Back(to, why):
            return f"back to {to}: {why}"
        case HoldIt(why) | Look(why) | Later(why) | Resume(why) | Finish(why):
            return why
        case Ignore(why):
            return f"{IGNORED}{why}"
        case Stop():
            return "the item is being stopped"
        case Start():
            return "left to intake"
