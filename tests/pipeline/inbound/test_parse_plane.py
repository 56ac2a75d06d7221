"""What Plane's deliveries mean, each recording of a real server included."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadSignature, UnreadableDelivery
from pipeline.inbound.plane import parse_plane
from pipeline.inbound.signature import sign
from pipeline.model import Delivery, StateChange
from pipeline.signals import Signal

# The secret that the recordings were signed with is not known, so their bodies are signed anew.
SECRET = "plane_wh_test"
CAPTURES = Path(__file__).parents[2] / "captures" / "plane"

ADA, BOT = "c32b02ce-b634-425a-bbef-fb8bbb8cb428", "73255328-4a94-47df-8df9-fec7e850cd54"
WIDGETS = "581ad294-072b-42fc-80a9-52449faee928"

STATES: dict[str, tuple[str, str, str]] = {
    "01-issue-created": ("To Analyse", "unstarted", BOT),
    "02-issue-updated-state": ("Architecture", "started", BOT),
    "20-issue-created-ui": ("To Analyse", "unstarted", ADA),
    "21-issue-updated-state-ui": ("Architecture", "started", ADA),
    "50-issue-created-other-project": ("Backlog", "backlog", ADA),
}
ANSWERS: dict[str, tuple[str, str]] = {
    "09-issue_comment-created": ("APPROVE please ✔", BOT),
    "27-issue_comment-created-ui": ("Human answer: yes", ADA),
}
IGNORED: dict[str, str] = {
    "00-project-created": "Nothing follows from Plane's event 'project' with action 'created'.",
    "03-issue-updated-name": "Nothing follows from a change of an issue's name.",
    "04-issue-updated-label-added": "Nothing follows from a change of an issue's labels.",
    "05-issue-updated-description": "Nothing follows from a change of an issue's description_html.",
    "10-issue_comment-updated": "Nothing follows from Plane's event 'issue_comment' with action 'updated'.",
    "12-issue-updated-assignee": "Nothing follows from a change of an issue's assignees.",
    "22-issue-updated-name-ui": "Nothing follows from a change of an issue's name.",
    "23-issue-updated-label-added-ui": "Nothing follows from a change of an issue's label_ids.",
    "24-issue-updated-description-ui": "Nothing follows from a change of an issue's description_html.",
    "25-issue-updated-label-removed-ui": "Nothing follows from a change of an issue's label_ids.",
    "26-issue-updated-priority-ui": "Nothing follows from a change of an issue's priority.",
    "51-project-deleted": "Nothing follows from Plane's event 'project' with action 'deleted'.",
}
NEVER_SENT = {"07-issue-updated-noop", "08-issue-updated-state_id-key", "13-issue-relation-blocked_by"}


def parse(body: bytes | dict[str, Any]) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_plane({"x-plane-signature": sign(raw, SECRET), "X-Plane-Event": "issue"}, raw, SECRET)


def moved(**data: Any) -> dict[str, Any]:
    issue = {"id": "i", "project": "p", "state": {"id": "s", "name": "Todo", "group": "unstarted"}} | data
    activity = {"field": "state", "new_value": "s", "actor": {"id": "u", "display_name": "ada"}}
    return {"event": "issue", "action": "updated", "data": issue, "activity": activity}


def commented(**data: Any) -> dict[str, Any]:
    comment = {"id": "c", "issue": "i", "project": "p", "comment_html": "<p>Yes</p>"} | data
    return {"event": "issue_comment", "action": "created", "data": comment}


def test_every_recorded_delivery_is_in_a_table() -> None:
    names = {path.stem for path in CAPTURES.glob("[0-9]*.json")}
    assert names == set(STATES) | set(ANSWERS) | set(IGNORED) | NEVER_SENT


@pytest.mark.parametrize(("name", "expected"), STATES.items())
def test_a_card_that_stands_in_a_state_says_so(
    name: str, expected: tuple[str, str, str], recorded: Callable[[str], Any]
) -> None:
    body = recorded(f"plane/{name}").body
    (signal,) = parse(body).signals
    assert signal.signal is None
    assert signal.state is not None
    assert (signal.state.state_name, signal.state.state_group, signal.actor_id) == expected
    data = json.loads(body)["data"]
    assert (signal.item_ref, signal.project_ref, signal.state.state_id) == (
        data["id"],
        data["project"],
        data["state"]["id"],
    )
    assert signal.payload["sequence_id"] == data["sequence_id"]
    assert signal.payload["title"] == data["name"]
    assert signal.payload["updated_at"] == data["updated_at"]


@pytest.mark.parametrize(("name", "expected"), ANSWERS.items())
def test_a_new_comment_is_an_answer_in_plain_text(
    name: str, expected: tuple[str, str], recorded: Callable[[str], Any]
) -> None:
    body = recorded(f"plane/{name}").body
    (signal,) = parse(body).signals
    assert (signal.signal, signal.project_ref) == (Signal.ANSWER_GIVEN, WIDGETS)
    assert (signal.payload["text"], signal.actor_id) == expected
    data = json.loads(body)["data"]
    assert (signal.item_ref, signal.payload["created_at"]) == (data["issue"], data["created_at"])


@pytest.mark.parametrize(("name", "expected"), IGNORED.items())
def test_everything_else_is_ignored_with_the_reason(name: str, expected: str, recorded: Callable[[str], Any]) -> None:
    delivery = parse(recorded(f"plane/{name}").body)
    assert (delivery.signals, delivery.ignored_because) == ((), expected)


def test_the_description_is_told_as_plain_text(recorded: Callable[[str], Any]) -> None:
    (signal,) = parse(recorded("plane/02-issue-updated-state").body).signals
    assert signal.payload["description"] == "Make it spin.\n日本語 🚀"
    assert signal.payload["field"] == "state"


def test_a_repeated_attempt_has_the_same_digest_and_another_delivery_has_not(recorded: Callable[[str], Any]) -> None:
    body = recorded("plane/02-issue-updated-state").body
    other = recorded("plane/21-issue-updated-state-ui").body
    assert parse(body).digest == parse(body).digest != parse(other).digest


def test_where_the_card_has_moved_on_since_both_states_are_told() -> None:
    (signal,) = parse(moved(state={"id": "newer", "name": "Done", "group": "completed"})).signals
    assert signal.state == StateChange("newer", "Done", "completed", "s")


def test_a_bare_state_id_of_older_versions_has_no_name() -> None:
    (signal,) = parse(moved(state="s")).signals
    assert signal.state == StateChange("s", "", "", "s")
    assert signal.payload == {"field": "state"}


def test_a_new_issue_that_does_not_tell_its_state_is_ignored() -> None:
    delivery = parse({"event": "issue", "action": "created", "data": {"id": "i", "project": "p"}})
    assert delivery.ignored_because.startswith("The new issue's state is not told")


def test_of_a_drag_the_other_delivery_means_nothing() -> None:
    """A drag on the board is told twice: where the card now stands, and at which place of the column."""
    body = moved()
    body["activity"] |= {"field": "sort_order", "new_value": "75535.0"}
    assert parse(body).ignored_because == "Nothing follows from a change of an issue's sort_order."


def test_a_missing_id_is_named() -> None:
    body = moved()
    del body["data"]["id"]
    with pytest.raises(UnreadableDelivery, match=r"data\.id"):
        parse(body)


def test_a_state_that_neither_the_issue_nor_the_change_tells_is_named() -> None:
    body = moved(state=None)
    body["activity"]["new_value"] = None
    with pytest.raises(UnreadableDelivery, match=r"data\.state"):
        parse(body)


@pytest.mark.parametrize("field", ["state", "state_id"])
def test_of_an_older_version_that_sends_the_changed_fields_only_the_rest_is_left_open(field: str) -> None:
    activity = {"field": field, "new_value": "s", "actor": {"id": "u"}}
    for data in ({"id": "i"}, {"id": "i", "state": "s"}, {"id": "i", "state_id": "s"}):
        (signal,) = parse({"event": "issue", "action": "updated", "data": data, "activity": activity}).signals
        assert (signal.project_ref, signal.item_ref) == ("", "i")
        assert signal.state == StateChange("s", "", "", "s")
        assert signal.payload == {"field": field}


def second(event: str = "workitem.updated", **more: Any) -> dict[str, Any]:
    """A webhook of version 2, as Plane's documentation describes it."""
    data = {"id": "i", "project_id": "p", "state_id": "s", "sequence_id": 7, "name": "Spin"}
    return {
        "event": event, "event_id": "e", "delivery_id": "d", "data": data,
        "previous_attributes": {"state_id": "before"}, "actor": {"id": "u", "display_name": "ada"}, **more,
    }  # fmt: skip


@pytest.mark.parametrize("event", ["workitem.created", "workitem.updated"])
def test_the_commercial_editions_second_version_tells_of_states(event: str) -> None:
    (signal,) = parse(second(event)).signals
    assert (signal.project_ref, signal.item_ref, signal.actor_id) == ("p", "i", "u")
    assert signal.state == StateChange("s", "", "")
    assert (signal.payload["sequence_id"], signal.payload["title"]) == (7, "Spin")


def test_an_attempt_of_the_second_version_is_known_by_its_event() -> None:
    again, other = parse(second(delivery_id="another")).digest, parse(second(event_id="another")).digest
    assert parse(second()).digest == again != other


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (second(previous_attributes={"name": "Spin"}), "Nothing follows from a change of an issue's name."),
        (second(previous_attributes={}), "Nothing follows from a change of an issue's unnamed field."),
        (second(actor=None), "polling will find it"),
        (second(data={"id": "i", "project_id": "p"}), "polling will find it"),
        (second("workitem.comment.created"), "Plane's event 'workitem.comment.created'"),
        (second("workitem.deleted"), "Plane's event 'workitem.deleted'"),
    ],
)
def test_what_the_second_version_does_not_tell_clearly_is_ignored_with_the_reason(
    body: dict[str, Any], reason: str
) -> None:
    delivery = parse(body)
    assert delivery.signals == ()
    assert reason in delivery.ignored_because


@pytest.mark.parametrize("activity", [{}, {"activity": None}])
def test_an_update_that_does_not_tell_what_changed_is_not_guessed_at(activity: dict[str, None]) -> None:
    body = moved()
    del body["activity"]
    delivery = parse(body | activity)
    assert delivery.signals == ()
    assert delivery.ignored_because.startswith("Plane's update does not tell what was changed and by whom")


@pytest.mark.parametrize("activity", [{}, {"activity": None}])
def test_a_new_issue_and_a_comment_are_understood_without_an_activity(activity: dict[str, None]) -> None:
    new = {"event": "issue", "action": "created", "data": moved()["data"]} | activity
    assert parse(new).signals[0].state == StateChange("s", "Todo", "unstarted")
    (answer,) = parse(commented(actor="u") | activity).signals
    assert (answer.actor, answer.actor_id, answer.payload["text"]) == ("", "u", "Yes")


@pytest.mark.parametrize(
    ("actor", "name"), [("u", ""), ({"id": "u", "display_name": None}, ""), ({"id": "u", "display_name": "ada"}, "ada")]
)
def test_an_actor_may_be_a_bare_id_or_have_no_name(actor: Any, name: str) -> None:
    body = moved()
    body["activity"]["actor"] = actor
    for told in (body, second(actor=actor)):
        (signal,) = parse(told).signals
        assert (signal.actor, signal.actor_id) == (name, "u")


def test_a_comment_whose_author_is_null_is_still_an_answer() -> None:
    (signal,) = parse(commented(actor=None)).signals
    assert (signal.signal, signal.actor_id) == (Signal.ANSWER_GIVEN, "")


@pytest.mark.parametrize(("told", "expected"), [("2026-11-21T01:40:05Z", "2026-11-21T01:40:05Z"), (None, ""), (7, "")])
def test_an_answer_tells_when_its_comment_was_written(told: object, expected: str) -> None:
    assert parse(commented(created_at=told)).signals[0].payload["created_at"] == expected


def test_a_reference_that_is_null_in_one_spelling_is_read_in_the_other() -> None:
    (signal,) = parse(moved(state=None, state_id="s", project=None, project_id="p")).signals
    assert (signal.project_ref, signal.state) == ("p", StateChange("s", "", "", "s"))


@pytest.mark.parametrize("state", [None, {"id": "newer", "name": "Done", "group": "completed"}])
def test_where_the_change_tells_a_states_name_its_identifier_is_the_id(state: dict[str, str] | None) -> None:
    body = moved(state=state)
    body["activity"] |= {"new_value": "Todo", "new_identifier": "s"}
    change = parse(body).signals[0].state
    assert change is not None
    assert (change.state_id, change.moved_to) == ("newer" if state else "s", "s")


def test_an_unsigned_delivery_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadSignature):
        parse_plane({}, b"not even JSON", SECRET)


@pytest.mark.parametrize("body", [b"", b"payload=%7B%7D", b"\xff", b"[" * 50_000, b"[]", b"null", b'{"event": 1}'])
def test_what_is_not_an_event_in_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableDelivery):
        parse(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DATA = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            *("id", "project", "project_id", "state", "state_id", "name", "sequence_id"),
            *("issue", "comment_html", "description_html", "actor", "created_at"),
        ),
        JSON,
    ),
)
EVENTS = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["issue", "issue_comment", "page", "workitem.updated"]),
        "action": st.sampled_from(["created", "updated"]),
    },
    optional={"data": DATA | JSON, "activity": st.fixed_dictionaries({"field": JSON}, optional={"actor": JSON}) | JSON},
)


@given(body=st.binary() | (EVENTS | JSON).map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_but_unreadable(body: bytes) -> None:
    try:
        delivery = parse(body)
    except UnreadableDelivery:
        return
    assert bool(delivery.signals) != bool(delivery.ignored_because)


@given(headers=st.dictionaries(st.text(), st.text()), body=st.binary(), secret=st.text())
def test_no_headers_raise_anything_but_a_bad_signature(headers: dict[str, str], body: bytes, secret: str) -> None:
    with pytest.raises(BadSignature):
        parse_plane(headers, body, secret)


RECORDED = [
    base64.b64decode(json.loads(path.read_text())["body_b64"])
    for path in sorted(CAPTURES.glob("[0-9]*.json"))
    if path.stem not in NEVER_SENT
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [place for key, inner in inside for place in places(inner, (*at, key))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A recorded delivery in which some things are taken out or something else."""
    body = json.loads(draw(st.sampled_from(RECORDED)))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(body) or [("event",)]))
        there = body
        for key in way:
            there = there[key]
        if draw(st.booleans()) and isinstance(there, dict):
            del there[last]
        else:
            there[last] = draw(JSON)
    return json.dumps(body).encode()


@given(body=mutated())
def test_a_recording_that_was_tampered_with_is_understood_ignored_or_unreadable(body: bytes) -> None:
    try:
        delivery = parse(body)
    except UnreadableDelivery:
        return
    assert bool(delivery.signals) != bool(delivery.ignored_because)
    for signal in delivery.signals:
        assert (signal.signal is None) != (signal.state is None)
        json.dumps(signal.payload).encode()


@given(body=st.sampled_from(RECORDED), at=st.integers(0), flip=st.integers(1, 255), of_signature=st.booleans())
def test_one_other_byte_in_the_body_or_the_signature_and_nothing_is_believed(
    body: bytes, at: int, flip: int, of_signature: bool
) -> None:
    def spoilt(raw: bytes) -> bytes:
        where = at % len(raw)
        return raw[:where] + bytes([raw[where] ^ flip]) + raw[where + 1 :]

    signature = sign(body, SECRET)
    if of_signature:
        signature = spoilt(signature.encode()).decode("latin-1")
    else:
        body = spoilt(body)
    with pytest.raises(BadSignature):
        parse_plane({"X-Plane-Signature": signature}, body, SECRET)
