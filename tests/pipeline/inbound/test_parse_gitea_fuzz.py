"""Whatever Gitea, or somebody in its place, sends: a typed refusal or an understood delivery, and nothing unsigned."""

import base64
import copy
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.errors import BadSignature, UnreadableDelivery
from pipeline.inbound.gitea import parse_gitea
from pipeline.inbound.signature import sign
from pipeline.model import Delivery

SECRET = "hook-secret-1"
CAPTURES = Path(__file__).parents[2] / "captures" / "gitea"
RECORDINGS = sorted(path.name for path in CAPTURES.glob("[0-9]*.json"))
EVENTS = (
    st.sampled_from(
        ["push", "pull_request", "pull_request_review_rejected", "pull_request_review_comment", "status", "delete"]
    )
    | st.text()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@cache
def recording(name: str) -> tuple[dict[str, str], bytes]:
    raw = json.loads((CAPTURES / name).read_text())
    return dict(raw["headers"]), base64.b64decode(raw["body_b64"])


def signed(event: str, body: bytes) -> dict[str, str]:
    return {"X-Gitea-Signature": sign(body, SECRET), "X-Gitea-Event-Type": event}


def parse(event: str, body: bytes) -> Delivery | None:
    """What a signed delivery says, None when it is refused as unreadable; anything else that is raised is a crash."""
    try:
        delivery = parse_gitea(signed(event, body), body, SECRET)
    except UnreadableDelivery:
        return None
    assert bool(delivery.signals) != bool(delivery.ignored_because)
    for signal in delivery.signals:
        assert signal.signal is not None
        json.dumps(signal.payload)  # it goes into the database
    return delivery


def paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where there is anything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths(one, (*at, key)))]


def changed(body: Any, at: tuple[str | int, ...], new: Any, *, gone: bool) -> Any:
    """`body` with what is at this path replaced, or taken away."""
    if not at:
        return new
    body = copy.deepcopy(body)
    parent = body
    for key in at[:-1]:
        parent = parent[key]
    if gone:
        del parent[at[-1]]
    else:
        parent[at[-1]] = new
    return body


@given(event=EVENTS, body=st.binary())
@example("push", b"")
@example("push", b"\xff\xfe")
@example("push", b"[" * 100_000)
@example("push", b'{"ref": "' + b"x" * 1_000_000)
@example("push", b"9" * 10_000)
@example("push", b'{"ref": "\\ud800"}')
def test_no_bytes_crash(event: str, body: bytes) -> None:
    parse(event, body)


@given(event=EVENTS, body=JSON)
def test_no_json_crashes(event: str, body: Any) -> None:
    parse(event, json.dumps(body).encode())


@given(name=st.sampled_from(RECORDINGS), data=st.data())
def test_no_recording_with_something_else_in_it_crashes(name: str, data: st.DataObject) -> None:
    headers, raw = recording(name)
    body = json.loads(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(paths(body)))
        body = changed(body, at, data.draw(JSON), gone=data.draw(st.booleans()) and bool(at))
    parse(headers["X-Gitea-Event-Type"], json.dumps(body).encode())


@given(name=st.sampled_from(RECORDINGS), event=EVENTS)
def test_no_recording_under_another_name_crashes(name: str, event: str) -> None:
    parse(event, recording(name)[1])


@given(name=st.sampled_from(RECORDINGS), data=st.data())
def test_no_recording_that_was_damaged_on_the_way_is_believed(name: str, data: st.DataObject) -> None:
    headers, raw = recording(name)
    at = data.draw(st.integers(0, len(raw) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    body = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
    with pytest.raises(BadSignature):
        parse_gitea(headers, body, SECRET)


@given(name=st.sampled_from(RECORDINGS), signature=st.text() | st.binary().map(bytes.hex), secret=st.text())
@example("02-push-push-main.json", "", "")
@example("02-push-push-main.json", "sha256=", SECRET)
def test_no_signature_but_the_right_one_is_believed(name: str, signature: str, secret: str) -> None:
    headers, raw = recording(name)
    assume((signature, secret) != (headers["X-Gitea-Signature"], SECRET))
    with pytest.raises(BadSignature):
        parse_gitea(headers | {"X-Gitea-Signature": signature}, raw, secret)


@given(signature=st.text(max_size=80), body=st.binary())
def test_nothing_unsigned_is_looked_into(signature: str, body: bytes) -> None:
    assume(signature != sign(body, SECRET))
    with pytest.raises(BadSignature):
        parse_gitea({"X-Gitea-Signature": signature, "X-Gitea-Event-Type": "push"}, body, SECRET)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_hook_without_a_secret_signs_nothing_and_is_refused(name: str) -> None:
    headers, raw = recording(name)
    unsigned = {key: "" if "signature" in key.lower() else value for key, value in headers.items()}
    with pytest.raises(BadSignature, match="is not signed"):
        parse_gitea(unsigned, raw, SECRET)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_form_is_refused_whichever_part_of_it_is_signed(name: str) -> None:
    headers, raw = recording(name)  # Gitea signs the payload alone, not the form around it
    form = f"payload={quote(raw)}".encode()
    with pytest.raises(BadSignature):
        parse_gitea(headers, form, SECRET)
    assert headers["X-Gitea-Event-Type"]
    with pytest.raises(UnreadableDelivery):
        parse_gitea(signed("push", form), form, SECRET)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_github_like_signature_is_not_taken_for_gitea_s(name: str) -> None:
    headers, raw = recording(name)
    with pytest.raises(BadSignature):
        parse_gitea(headers | {"X-Gitea-Signature": f"sha256={headers['X-Gitea-Signature']}"}, raw, SECRET)
