"""What a person says on the command line: stored like any other signal; the running Orch sends what follows."""

from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from pipeline.decide import held_because
from pipeline.errors import Refused
from pipeline.messages import Texts
from pipeline.model import Hold, WorkItem
from pipeline.settings import Settings
from pipeline.signals import Signal
from pipeline.stages import ROWS
from pipeline.store import inbox, items, leases, outbox, reactions, set_aside, waits
from pipeline.store.engine import Store, shown
from pipeline.store.schema import check, made


def open_store(settings: Settings) -> Store:
    """The store of these settings. Raises `Refused` when `orch up` never ran; and see `schema.check`."""
    store = Store(settings.store_url)
    check(store)
    if not made(store):
        where = shown(store.engine.url)
        raise Refused(f"There is no database of Orch at {where}; `orch up` makes it. Is ORCH_STATE_DIR the right one?")
    return store


def overview(settings: Settings) -> list[dict[str, Any]]:
    """The latest items, newest first, as JSON-ready data."""
    return open_store(settings).read(_overview)


def _overview(session: Session) -> list[dict[str, Any]]:
    return [*map(_aside, set_aside.items(session)), *_understood(session)]


def _aside(item: set_aside.AsideItem) -> dict[str, Any]:
    told = {"key": item.key, "title": item.title, "stage": item.stage, "visit": 0, "since": item.since.isoformat()}
    return {**told, "hold": None, "landed": None, "why": item.why}


def _understood(session: Session) -> list[dict[str, Any]]:
    return [
        {
            "key": item.key,
            "title": item.title,
            "stage": item.stage,
            "visit": item.visit,
            "since": item.entered_at.isoformat(),
            "hold": item.hold,
            "landed": item.landed,
            "why": (held_because(item) if not item.stage.terminal else "")
            or (wait.sentence if (wait := waits.open_wait(session, item.id)) else ""),
        }
        for item in items.all_items(session)
    ]


def signal(settings: Settings, key: str, name: str, text: str, actor: str) -> str:
    """Give an item a signal and say what followed, now or once the run that works on it is done.

    Raises `Refused` for an unknown item, and when nothing would follow: then nothing is stored either.
    """
    return open_store(settings).write(_signal, settings, key, Signal(name), text, actor)


def _signal(session: Session, settings: Settings, key: str, meant: Signal, text: str, actor: str) -> str:
    now, item = _now(), _find(session, key)
    stored = inbox.signal(
        session, delivery_id=None, project=item.project, item_key=key, signal=meant, actor=actor,
        payload={"text": text, "names_the_gate": True}, now=now,
    )  # fmt: skip
    followed = reactions.apply(session, stored, now, Texts(settings.language))
    if followed is None:
        return f"{key}: stored; it is applied when its run is done"
    if followed.startswith(reactions.IGNORED):
        why = followed.removeprefix(reactions.IGNORED)
        raise Refused(f"{key}: nothing was decided. {why} `orch why {key}` tells what it waits for.")
    return f"{key}: {followed}"


def retry(settings: Settings, key: str, actor: str) -> str:
    """Let a held item go on. Raises `Refused` when it is unknown or nothing holds it."""
    return open_store(settings).write(_retry, key, actor)


def _retry(session: Session, key: str, actor: str) -> str:
    now, item = _now(), _find(session, key)
    if item.hold is None:
        raise Refused(f"{key} is not held; `orch status` tells what it waits for.")
    holder = leases.owner(session, item.id)
    if holder is not None and holder.expires_at > now:
        raise Refused(f"Run {holder.flow_run_id} still holds {key}; try again in a moment.")
    row = ROWS[item.stage]
    if item.hold is Hold.ESCALATED:
        forgiven = {row.role.value, ROWS[row.back_to].role.value}
        attempts = {name: count for name, count in item.attempts.items() if name not in forgiven}
        items.move(
            session, item, item.stage, actor=actor, reason="retried by a person", run=None, token=None, now=now,
            attempts=attempts,
        )  # fmt: skip
    else:
        items.unhold(session, item.id, reset=None)
    outbox.enter(session, key, item.stage, now)
    outbox.status(session, key, now)
    return f"{key} goes on at {item.stage}."


def _find(session: Session, key: str) -> WorkItem:
    item = items.find(session, key)
    if item is None:
        raise Refused(f"There is no live work item {key}; `orch status` lists them.")
    return item


def _now() -> datetime:
    return datetime.now(UTC)
