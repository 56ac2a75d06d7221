"""What Telegram's updates mean: pressed buttons, from people who know our secret only."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadSignature, UnreadableDelivery
from pipeline.inbound.telegram import button_data, parse_telegram
from pipeline.model import Choice, Delivery
from pipeline.signals import Signal

SECRET = "s3cret_-Token"
KEY = "approval-7-0a1b2c3d4e5f"


def parse(body: bytes | dict[str, Any], secret: str = SECRET) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_telegram({"x-telegram-bot-api-secret-token": secret}, raw, SECRET)


def pressed(data: str | None = f"{KEY}:approve", *, update: int = 1, query: str = "q1", **user: Any) -> dict[str, Any]:
    """An update as Telegram's documentation has it."""
    return {
        "update_id": update,
        "callback_query": {
            "id": query,
            "from": {"id": 42, "is_bot": False, "first_name": "Ada", "username": "ada"} | user,
            "message": {"message_id": 5, "date": 1, "chat": {"id": -1007, "type": "supergroup"}, "text": "?"},
            "chat_instance": "-3",
            "data": data,
        },
    }


@pytest.mark.parametrize(
    ("choice", "signal"),
    [("approve", Signal.APPROVED), ("reject", Signal.REJECTED), ("confirm", Signal.DEPLOY_CONFIRMED)],
)
def test_a_pressed_button_names_its_wait_who_pressed_and_what_it_says(choice: str, signal: Signal) -> None:
    (told,) = parse(pressed(f"{KEY}:{choice}")).signals
    assert (told.project_ref, told.item_ref, told.signal) == ("", f"wait:{KEY}", signal)
    assert (told.actor, told.actor_id) == ("telegram:ada", "42")
    assert told.payload == {"press": "q1", "choice": choice, "is_bot": False, "chat": -1007, "message": 5}


@pytest.mark.parametrize("username", ["", "a b", "ada\x00", "a" * 65, "аda"])
def test_who_has_no_name_that_can_be_trusted_is_known_by_id(username: str) -> None:
    assert parse(pressed(username=username)).signals[0].actor == "telegram:42"


def test_a_bot_is_told_apart() -> None:
    assert parse(pressed(is_bot=True)).signals[0].payload["is_bot"] is True


def test_a_press_below_a_message_that_is_too_old_to_be_told_is_understood() -> None:
    update = pressed()
    del update["callback_query"]["message"]
    payload = parse(update).signals[0].payload
    assert (payload["chat"], payload["message"]) == (None, None)


@pytest.mark.parametrize(
    "data",
    [None, "", "approve", f"{KEY}:answer", f"{KEY}:", ":approve", f"{KEY}:approve:x", "WAIT:approve", "a\x00:approve"],
)
def test_a_button_that_is_not_ours_is_ignored(data: str | None) -> None:
    assert parse(pressed(data)).ignored_because == "The button that was pressed is not one of Orch's."


@pytest.mark.parametrize("update", [{"update_id": 1, "message": {"text": "/start"}}, {"update_id": 1}])
def test_any_other_update_is_ignored(update: dict[str, Any]) -> None:
    assert parse(update).ignored_because.startswith("Nothing follows from an update")


def test_the_same_update_has_the_same_digest_whatever_else_it_says() -> None:
    first, again = pressed(), pressed()
    again["callback_query"]["message"]["text"] = "edited meanwhile"
    assert parse(first).digest == parse(again).digest
    assert len({parse(pressed(update=u, query=q)).digest for u in (1, 2) for q in ("q1", "q2")}) == 4


@pytest.mark.parametrize("field", ["update_id", "callback_query.id", "callback_query.from", "callback_query.from.id"])
def test_a_missing_field_is_named(field: str) -> None:
    update: dict[str, Any] = pressed()
    *path, last = field.split(".")
    inner = update
    for name in path:
        inner = inner[name]
    del inner[last]
    with pytest.raises(UnreadableDelivery, match=f"field {field}"):
        parse(update)


# --- the secret


@pytest.mark.parametrize("given", ["", "s3cret", SECRET + "x", SECRET.upper(), "ж", "\ud800"])
def test_without_our_secret_nothing_is_read(given: str) -> None:
    with pytest.raises(BadSignature):
        parse(b"not even JSON", given)


def test_without_a_secret_of_ours_nothing_is_believed() -> None:
    with pytest.raises(BadSignature, match="No webhook secret"):
        parse_telegram({"X-Telegram-Bot-Api-Secret-Token": ""}, json.dumps(pressed()).encode(), "")


# --- buttons


def test_a_buttons_data_comes_back_as_it_was_made() -> None:
    data = button_data("confirmation-1234567890-0a1b2c3d4e5f", Choice.CONFIRM)
    assert len(data) <= 64
    assert parse(pressed(data)).signals[0].item_ref == "wait:confirmation-1234567890-0a1b2c3d4e5f"


@pytest.mark.parametrize(("key", "choice"), [("k" * 57, Choice.APPROVE), ("k", Choice.ANSWER), ("K:", Choice.REJECT)])
def test_data_that_telegram_or_orch_would_not_take_is_never_made(key: str, choice: Choice) -> None:
    with pytest.raises(ValueError, match="cannot be a button's data"):
        button_data(key, choice)


# --- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def spoiled(data: st.DataObject, body: Any) -> Any:
    """A body with one of its values, at any depth, replaced or taken away."""
    if not isinstance(body, dict) or not body or data.draw(st.integers(0, 3)) == 0:
        return data.draw(JSON)
    name = data.draw(st.sampled_from(sorted(body)))
    if data.draw(st.booleans()):
        return {key: value for key, value in body.items() if key != name}
    return body | {name: spoiled(data, body[name])}


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_but_unreadable(body: bytes) -> None:
    try:
        delivery = parse(body)
    except UnreadableDelivery:
        return
    assert bool(delivery.signals) != bool(delivery.ignored_because)


@given(data=st.data())
def test_no_spoiled_update_raises_anything_but_unreadable_or_speaks_for_somebody_else(data: st.DataObject) -> None:
    body = json.dumps(spoiled(data, pressed())).encode()
    try:
        delivery = parse(body)
    except UnreadableDelivery:
        return
    for told in delivery.signals:
        assert told.item_ref.startswith("wait:")
        assert told.actor.startswith("telegram:")
        assert told.signal in (Signal.APPROVED, Signal.REJECTED, Signal.DEPLOY_CONFIRMED)


@given(headers=st.dictionaries(st.text(), st.text()), body=st.binary(), secret=st.text())
def test_no_headers_raise_anything_but_a_bad_signature(headers: dict[str, str], body: bytes, secret: str) -> None:
    with pytest.raises(BadSignature):
        parse_telegram(headers, body, secret)
