"""However somebody has recorded a delivery: its headers and its bytes are found, or one sentence says what is missing."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UnreadableDelivery
from pipeline.inbound.recorded import Recorded, read_recorded

BODY = b'{"event": "issue", "action": "updated", "data": {"id": "a-long-enough-id-that-base64-breaks-its-line"}}'
B64 = base64.b64encode(BODY).decode()
HEADERS = {"X-Plane-Event": "issue"}
READ = Recorded({"x-plane-event": "issue"}, BODY)


def read(**content: Any) -> Recorded | str:
    return read_recorded(json.dumps(content).encode())


@pytest.mark.parametrize(
    "encoded",
    [B64, base64.encodebytes(BODY).decode(), B64.rstrip("="), B64[:30] + "\r\n" + B64[30:]],
    ids=["plain", "broken lines", "no padding", "one break"],
)
def test_base64_may_have_line_breaks_and_no_padding(encoded: str) -> None:
    assert read(headers=HEADERS, body_b64=encoded) == READ


@pytest.mark.parametrize("encoded", ["%", "a", "ab=c", "ä"])
def test_what_is_not_base64_is_named(encoded: str) -> None:
    with pytest.raises(UnreadableDelivery, match="wrong field body_b64"):
        read(headers=HEADERS, body_b64=encoded)


@pytest.mark.parametrize(
    "headers",
    [
        HEADERS,
        [["X-Plane-Event", "issue"]],
        [{"name": "X-Plane-Event", "value": "issue"}],
        {"X-Plane-Event": ["issue", "page"]},
        [["X-Plane-Event", "issue"], ["x-plane-event", "page"]],
        {"X-PLANE-EVENT": "issue", "X-Plane-Event": "page"},
        [["X-Plane-Event", "issue"], [7, "dropped"], [None, "dropped"], {"name": 7, "value": "dropped"}],
    ],
)
def test_headers_may_be_an_object_pairs_or_objects_and_the_first_of_a_name_counts(headers: Any) -> None:
    assert read(headers=headers, body_b64=B64) == READ


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (1.5, "1.5"), (None, ""), ([], ""), ([8, 9], "8"), ([[]], "")])
def test_a_headers_value_may_be_a_number_null_or_a_list(value: object, text: str) -> None:
    for headers in ({"A": value}, [["A", value]], [{"name": "A", "value": value}]):
        assert read(headers=headers, body_raw="") == Recorded({"a": text}, b"")


@pytest.mark.parametrize("headers", [7, "text", {"A": {}}, [["A"]], [["A", "b", "c"]], [7]])
def test_other_headers_are_named(headers: Any) -> None:
    with pytest.raises(UnreadableDelivery, match="wrong field headers"):
        read(headers=headers, body_b64=B64)


def test_a_note_may_be_null() -> None:
    assert read(headers=HEADERS, note=None) == (
        "The recording holds no delivery: it has no raw body (`body_b64` or `body_raw`)."
    )


@pytest.mark.parametrize(
    "content",
    [
        {"request": {"method": "POST"}, "headers": HEADERS, "body_b64": B64},
        {"request": {"headers": HEADERS}, "body_b64": B64},
        {"request": {"headers": HEADERS, "body_b64": B64}, "headers": {"Server": "the answer's"}},
        {"request": {"headers": HEADERS, "body_raw": BODY.decode(), "body_b64": None}, "headers": None},
        {"request": {"body_b64": B64}, "headers": HEADERS},
    ],
)
def test_a_delivery_is_found_beside_its_answer_and_under_its_request(content: dict[str, Any]) -> None:
    assert read(status=200, **content) == READ
    assert read(**content) == READ


@pytest.mark.parametrize("request_", [{"method": "GET"}, "GET /", None])
def test_without_a_raw_body_a_request_and_a_status_are_an_answer(request_: Any) -> None:
    assert read(request=request_, status=200, headers={}, json={}) == (
        "The recording is an API's answer to a request, not a delivery."
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("headers", "body_b64", "body_raw", "note", "status")


@given(content=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), request_=JSON, nested=st.booleans())
def test_whatever_is_recorded_is_a_delivery_a_reason_or_unreadable(
    content: dict[str, Any], request_: Any, nested: bool
) -> None:
    told = {"request": content, "status": 200} if nested else {"request": request_, **content}
    try:
        found = read(**told)
    except UnreadableDelivery:
        return
    assert isinstance(found, Recorded) or found
