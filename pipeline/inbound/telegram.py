"""Telegram's updates, understood without any I/O: buttons that were pressed. Shapes as its documentation has them."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

from pipeline.inbound.reading import read
from pipeline.inbound.signature import check_secret, digest, header
from pipeline.model import Choice, Delivery, InboundSignal
from pipeline.signals import Signal

SOURCE = "telegram"
SIGNATURE = "X-Telegram-Bot-Api-Secret-Token"
EVENT = "callback_query"

WAIT = "wait:"
"""How the `item_ref` of a pressed button begins; the key of the wait that it was about follows."""

LONGEST_DATA = 64
"""Bytes that a button can carry; ours are all ASCII."""

SIGNALS: Mapping[Choice, Signal] = {
    Choice.APPROVE: Signal.APPROVED,
    Choice.REJECT: Signal.REJECTED,
    Choice.CONFIRM: Signal.DEPLOY_CONFIRMED,
}
"""What a button can say."""

_BY_NAME = {choice.value: choice for choice in SIGNALS}
_DATA = re.compile(r"(?P<wait>[a-z0-9-]+):(?P<choice>[a-z]+)")
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class _User(BaseModel):
    id: int
    is_bot: bool = False
    username: str = ""

    @property
    def actor(self) -> str:
        """How a decision of theirs is recorded."""
        return f"telegram:{self.username if _USERNAME.fullmatch(self.username) else self.id}"


class _Chat(BaseModel):
    id: int


class _Message(BaseModel):
    message_id: int
    chat: _Chat


class _Query(BaseModel):
    id: str
    sender: _User = Field(alias="from")
    message: _Message | None = None
    data: str | None = None


class _Update(BaseModel):
    update_id: int
    callback_query: _Query | None = None


def button_data(wait_key: str, choice: Choice) -> str:
    """What a button about a wait carries. Raises `ValueError` for what Telegram would refuse or we could not read."""
    data = f"{wait_key}:{choice.value}"
    if len(data) > LONGEST_DATA or choice not in SIGNALS or not _DATA.fullmatch(data):
        raise ValueError(f"{data} cannot be a button's data")
    return data


def parse_telegram(headers: Mapping[str, str], body: bytes, secret: str) -> Delivery:
    """What an update of Telegram's says, once its secret is checked; see `understand_telegram`.

    Raises `BadSignature` before anything of the body is looked at, `UnreadableDelivery` naming what is missing.
    """
    check_secret(header(headers, SIGNATURE), secret)
    return understand_telegram(headers, body)


def understand_telegram(_headers: Mapping[str, str], body: bytes) -> Delivery:
    """What an update of Telegram's says, whoever may have sent it.

    The same update can come again: it is known by its id, together with the query's. Who pressed is told as `actor`
    and, what nobody can choose for himself, as `actor_id`; whether they may decide is the caller's to know.

    Raises `UnreadableDelivery` naming what is missing.
    """
    update = read(_Update, body, "Telegram")
    query = update.callback_query
    known = f"{update.update_id}\n{query.id if query else ''}"
    understood = _pressed(query) if query else "Nothing follows from an update that is no pressed button."
    return Delivery(
        source=SOURCE,
        event=EVENT if query else "update",
        digest=digest(SOURCE, EVENT, known.encode(errors="replace")),
        signals=() if isinstance(understood, str) else (understood,),
        ignored_because=understood if isinstance(understood, str) else "",
    )


def _pressed(query: _Query) -> InboundSignal | str:
    said = _DATA.fullmatch(query.data or "")
    choice = _BY_NAME.get(said["choice"]) if said else None
    if said is None or choice is None:
        return "The button that was pressed is not one of Orch's."
    return InboundSignal(
        project_ref="",
        item_ref=f"{WAIT}{said['wait']}",
        signal=SIGNALS[choice],
        actor=query.sender.actor,
        actor_id=str(query.sender.id),
        payload={
            "press": query.id,
            "choice": choice.value,
            "is_bot": query.sender.is_bot,
            "chat": query.message.chat.id if query.message else None,
            "message": query.message.message_id if query.message else None,
        },
    )
