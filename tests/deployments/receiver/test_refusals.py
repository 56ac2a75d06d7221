"""What is wrong is refused with a reason and changes nothing, whatever it is."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.sandbox.views import CardView
from pipeline.inbound.reading import NOT_JSON
from pipeline.inbound.signature import sign
from tests.support.hooks import gitea_headers, gitea_says, gitea_status, plane_headers, plane_moved, plane_says
from tests.support.services import Desk


def assert_nothing_happened(desk: Desk) -> None:
    assert (desk.deliveries, desk.signals, desk.letters, desk.transitions) == ([], [], [], [])


BODY = b'{"event": "issue", "action": "updated"}'


@pytest.mark.parametrize("path", ["/webhooks/plane", "/webhooks/gitea"])
@pytest.mark.parametrize("signature", [None, "", "0" * 64, sign(BODY, "another secret"), "\xff"])
async def test_a_delivery_without_the_right_signature_is_refused(
    door: httpx.AsyncClient, desk: Desk, path: str, signature: str | None
) -> None:
    headers = {b"Content-Type": b"application/json"}
    if signature is not None:
        headers |= {name: signature.encode("latin-1") for name in (b"X-Plane-Signature", b"X-Gitea-Signature")}
    answer = await door.post(path, content=BODY, headers=list(headers.items()))
    assert answer.status_code == 401
    assert "signature" in answer.json()["message"] or "signed" in answer.json()["message"]
    assert_nothing_happened(desk)


async def test_one_neighbours_secret_does_not_open_the_others_door(door: httpx.AsyncClient, desk: Desk) -> None:
    body = gitea_status("a" * 40)
    signature = sign(body, desk.settings.plane_webhook_secret.get_secret_value())
    headers = gitea_headers(desk.settings, body, "status") | {"X-Gitea-Signature": signature}
    assert (await door.post("/webhooks/gitea", content=body, headers=headers)).status_code == 401


async def test_a_body_that_says_it_is_too_large_is_refused(door: httpx.AsyncClient, desk: Desk) -> None:
    answer = await plane_says(door, desk, b" " * (desk.settings.max_body_bytes + 1))
    assert (answer.status_code, answer.json()["message"]) == (413, "The body is larger than 1048576 bytes.")
    assert_nothing_happened(desk)


async def test_a_body_that_turns_out_too_large_is_refused(door: httpx.AsyncClient, desk: Desk) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65536

    answer = await door.post("/webhooks/plane", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert_nothing_happened(desk)


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-1", b"many"])
async def test_a_length_that_is_no_number_is_not_believed(door: httpx.AsyncClient, desk: Desk, length: bytes) -> None:
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", length)]
    assert (await door.post("/webhooks/plane", content=BODY, headers=headers)).status_code == 401
    assert_nothing_happened(desk)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_what_is_not_sent_as_json_is_refused(door: httpx.AsyncClient, desk: Desk, kind: str) -> None:
    answer = await plane_says(door, desk, BODY, **{"Content-Type": kind})
    assert (answer.status_code, answer.json()["message"]) == (415, NOT_JSON)
    assert_nothing_happened(desk)


async def test_the_content_type_is_compared_without_case(door: httpx.AsyncClient, desk: Desk) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse")
    assert (
        await plane_says(door, desk, body, **{"Content-Type": "Application/JSON; charset=UTF-8"})
    ).status_code == 202


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"payload=%7B%7D", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 5000, "body"),
        (b"{}", "event"),
        (b'{"event": "issue", "action": "updated", "activity": 7}', "activity"),
        (b'{"event": "issue", "action": "created", "data": {"project": "x"}}', "data.id"),
        (b'{"event": "issue_comment", "action": "created", "data": {"id": 3}}', "data.id"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_with_the_field(
    door: httpx.AsyncClient, desk: Desk, body: bytes, names: str
) -> None:
    answer = await plane_says(door, desk, body)
    assert answer.status_code == 400
    assert names in answer.json()["message"]
    assert_nothing_happened(desk)


async def test_an_event_that_means_nothing_is_acknowledged_and_not_kept(door: httpx.AsyncClient, desk: Desk) -> None:
    answers = [
        await plane_says(door, desk, b'{"event": "module", "action": "created", "data": {}}'),
        await gitea_says(door, desk, b"{}", "fork"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert_nothing_happened(desk)


async def test_an_unknown_project_is_acknowledged_and_ignored(door: httpx.AsyncClient, desk: Desk) -> None:
    answer = await gitea_says(door, desk, gitea_status("a" * 40, repository="other/place"))
    assert (answer.status_code, answer.json()["message"]) == (200, "status: No project of the registry is other/place.")
    assert_nothing_happened(desk)


# --- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Length", "X-Gitea-Event-Type", "X-Gitea-Event", "X-Plane-Event"]),
    st.sampled_from(
        ["application/json", "push", "status", "pull_request", "pull_request_review_approved", "\xb2", "9" * 5000]
    )
    | st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=9),
)


CARD = {
    "key": "SHOP-1", "id": "c" * 8, "project": "SHOP", "title": "Print", "description": "", "state": "", "group": "",
    "labels": [], "blocked_by": [], "comments": [], "updated_at": "2026-11-21T03:00:00Z",
}  # fmt: skip


def spoiled(data: st.DataObject, body: Any) -> Any:
    """A body with one of its values, at any depth, replaced or taken away."""
    if not isinstance(body, dict) or not body or data.draw(st.integers(0, 3)) == 0:
        return data.draw(JSON)
    name = data.draw(st.sampled_from(sorted(body)))
    if data.draw(st.booleans()):
        return {key: value for key, value in body.items() if key != name}
    return body | {name: spoiled(data, body[name])}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_nothing_that_is_sent_here_is_a_server_error_or_moves_an_item(
    door: httpx.AsyncClient, desk: Desk, data: st.DataObject
) -> None:
    moved = len(desk.transitions)
    card = CardView.model_validate(CARD)
    right = [plane_moved(desk, card, "", state_id=str(uuid4())), gitea_status("b" * 40)]
    body = json.dumps(spoiled(data, json.loads(data.draw(st.sampled_from(right))))).encode()
    body = data.draw(st.binary(max_size=60)) if data.draw(st.integers(0, 4)) == 0 else body
    signed = plane_headers(desk.settings, body) | gitea_headers(desk.settings, body, "status")
    headers = (signed if data.draw(st.integers(0, 4)) else {}) | data.draw(HEADERS)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await door.post(f"/webhooks/{data.draw(st.sampled_from(['plane', 'gitea']))}", content=body, headers=raw)
    assert answer.status_code < 500
    assert len(desk.transitions) == moved
