"""Buttons below a question: which there are, and what follows when one is pressed."""

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from pipeline import decide
from pipeline.clients.telegram import reference
from pipeline.inbound.telegram import WAIT, button_data
from pipeline.messages import Texts
from pipeline.model import Button, Choice, InboundSignal, Wait, WaitKind, WorkItem
from pipeline.reaction import Record
from pipeline.settings import Settings
from pipeline.signals import Signal
from pipeline.store import inbox, items, outbox, reactions, waits
from tasks.services import Services

BUTTONS: Mapping[WaitKind, Sequence[tuple[str, Choice]]] = {
    WaitKind.APPROVAL: (("button_approve", Choice.APPROVE), ("button_reject", Choice.REJECT)),
    WaitKind.INTEGRITY: (("button_accept", Choice.APPROVE), ("button_reject", Choice.REJECT)),
    WaitKind.CONFIRMATION: (("button_confirm", Choice.CONFIRM),),
}
"""The buttons of each question that can be answered with one."""


def below(settings: Settings, texts: Texts, wait: Wait) -> list[Button]:
    """The buttons below the message that asks; none where Telegram has not been told to send presses here."""
    if not settings.telegram_webhook_secret.get_secret_value():
        return []
    return [Button(texts(label), button_data(wait.key, choice)) for label, choice in BUTTONS.get(wait.kind, ())]


def pressed(session: Session, root: Services, delivery: int, entry: InboundSignal) -> tuple[str, str]:
    """Apply a pressed button, and answer it in a letter; (item key, sentence).

    It counts for exactly the question that it was below: that item, visit, kind of wait and commit. Only people whose
    id is in `ORCH_TELEGRAM_ALLOWED_USER_IDS` decide, bots never.
    """
    if not may_decide(root.settings, entry):
        _answer(session, root, entry, "pressed_not_allowed", key="")
        return "", f"{entry.actor} (user {entry.actor_id}) may not decide here"
    found = waits.by_key(session, entry.item_ref.removeprefix(WAIT))
    if found is None or entry.signal is None:
        _answer(session, root, entry, "pressed_unknown", key="", done=True)
        return "", f"{entry.actor} pressed a button about a question that nobody knows"
    wait, item = found
    payload = {**entry.payload, "user_id": entry.actor_id, "names_the_gate": True, "about": _about(wait, item)}
    return item.key, _apply(session, root, delivery, entry, entry.signal, item, payload)


def may_decide(settings: Settings, entry: InboundSignal) -> bool:
    """Whether this user's pressed buttons count."""
    allowed = {str(user) for user in settings.telegram_allowed_user_ids}
    return entry.actor_id in allowed and not entry.payload.get("is_bot")


def _about(wait: Wait, item: WorkItem) -> dict[str, object]:
    """What the button was below, for `decide` to compare with what is asked now."""
    return {"item": item.id, "stage": wait.stage, "visit": wait.visit, "kind": wait.kind, "commit": wait.commit}


def _apply(
    session: Session, root: Services, delivery: int, entry: InboundSignal, signal: Signal, item: WorkItem,
    payload: Mapping[str, object],
) -> str:  # fmt: skip
    now = root.now()
    counts = isinstance(decide.on_signal(reactions.standing(session, item.key), signal, payload), Record)
    stored = inbox.signal(
        session, delivery_id=delivery, project=item.project, item_key=item.key, signal=signal, actor=entry.actor,
        payload=payload, now=now,
    )  # fmt: skip
    consequence = reactions.apply(session, stored, now, root.texts) or "left to its run"
    text = f"pressed_{entry.payload['choice']}" if counts else "pressed_stale"
    _answer(session, root, entry, text, key=item.key, done=counts or _has_gone_on(session, item, payload))
    return consequence


def _has_gone_on(session: Session, item: WorkItem, payload: Mapping[str, object]) -> bool:
    """Whether what the button was below can never be asked again."""
    about = payload["about"]
    now = items.latest(session, item.key)
    return not isinstance(about, dict) or now is None or (now.id, now.stage, now.visit) != (
        about["item"], about["stage"], about["visit"],
    )  # fmt: skip


def _answer(session: Session, root: Services, entry: InboundSignal, text: str, *, key: str, done: bool = False) -> None:
    """A letter that answers the press; `done` takes the buttons off their message, too."""
    chat, message = entry.payload.get("chat"), entry.payload.get("message")
    payload = {
        "press": entry.payload["press"],
        "text": root.texts(text, key=key),
        "message": reference(chat, message) if done and isinstance(chat, int) and isinstance(message, int) else "",
    }
    outbox.put(session, outbox.Kind.PRESSED, key, payload, root.now())
