"""What a caller sees of a server that misbehaves. Nothing is repeated by the client, and nothing tells the secret."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from pipeline.clients import http
from pipeline.clients.http import HttpApi
from pipeline.errors import Missing, Refused, Unavailable
from tests.support.faulty import (
    Fault,
    answer,
    cut,
    drip,
    drop,
    faulty_server,
    garbage,
    gigantic,
    hang,
    page,
    passed,
    redirect,
    wrong_length,
)

TOKEN = "very-secret-token"
GOOD = {"id": "1", "name": "x" * 100}


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[HttpApi]:
    api = HttpApi("Plane", f"{url}/", secret=SecretStr(TOKEN), headers={"X-API-Key": TOKEN})
    yield api
    await api.aclose()


@pytest.mark.parametrize(
    ("fault", "kind", "status", "text"),
    [
        (answer(401, {"detail": TOKEN}), Refused, 401, "Plane refused GET x/: 401 ***."),
        (answer(403, {"detail": "Given API token is not valid"}), Refused, 403, "403 Given API token is not valid."),
        (answer(404, {"error": "No such thing."}), Missing, 404, "Plane refused GET x/: 404 No such thing."),
        (answer(409, {"error": "exists", "id": "7"}), Refused, 409, "409 exists."),
        (answer(422, {"message": "title: too long"}), Refused, 422, "422 title: too long."),
        (answer(429, {"error_message": "slow"}, {"Retry-After": "7"}), Unavailable, 429, "429 slow."),
        (answer(500), Unavailable, 500, "Plane is not available for GET x/: 500."),
        (page(500), Unavailable, 500, "Plane is not available for GET x/: 500 <html>"),
        (answer(503, {"error": "\u0000\u001b[31m down\n now"}), Unavailable, 503, "503 [31m down now."),
        (redirect("http://127.0.0.1:1/elsewhere"), Unavailable, 301, "it redirects to another address"),
        (page(200), Unavailable, 200, "Plane answered GET x/ with something else than JSON."),
        (garbage(), Unavailable, None, "Plane cannot be reached for GET x/: RemoteProtocolError."),
        (drop(), Unavailable, None, "Plane cannot be reached for GET x/: ReadError."),
        (cut(GOOD), Unavailable, None, "Plane cannot be reached for GET x/: ReadError."),
        (gigantic(), Unavailable, 200, "Plane's answer to GET x/ is larger than 65536 bytes"),
        (gigantic(status=403), Unavailable, 403, "is larger than 65536 bytes"),
        (
            answer(200, gzip.compress(b"0" * 10_000_000), {"Content-Encoding": "gzip"}),
            Unavailable,
            200,
            "is larger than 65536 bytes",
        ),
        (answer(200, b"{}", {"Content-Encoding": "gzip"}), Unavailable, None, "GET x/: DecodingError."),
        (wrong_length(GOOD, says=5000), Unavailable, None, "Plane cannot be reached for GET x/: RemoteProtocolError."),
        (wrong_length(GOOD, says=20), Unavailable, 200, "something else than JSON"),
        (answer(200, b'"' + b"9" * 10 + b"\xff" + b'"'), Unavailable, 200, "something else than JSON"),
        (answer(200, {"id": "\ud800"}), Unavailable, 200, "something else than JSON"),
        (answer(200, b"9" * 5000), Unavailable, 200, "something else than JSON"),
        (answer(200, b"[" * 10_000), Unavailable, 200, "something else than JSON"),
    ],
)
async def test_a_fault_is_one_typed_exception_after_one_call(
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    kind: type[Refused] | type[Unavailable],
    status: int | None,
    text: str,
) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 65536)
    with faulty_server([fault]) as server:
        async with calling(server.url) as api:
            with pytest.raises(kind) as raised:
                await api.call("GET", "x/")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.path) == (status, "x/")
    assert text in str(raised.value)
    assert server.made == [("GET", "/x/")]
    assert TOKEN not in f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("limit", "fault", "text"),
    [
        ("READ_TIMEOUT_S", hang(), "Plane has not answered GET x/ in time."),
        ("CALL_TIMEOUT_S", drip(GOOD), "Plane did not finish its answer to GET x/ within 0.2 s."),
    ],
)
async def test_an_answer_that_does_not_come_is_given_up_after_one_call(
    monkeypatch: pytest.MonkeyPatch, limit: str, fault: Fault, text: str
) -> None:
    monkeypatch.setattr(http, limit, 0.2)
    with faulty_server([fault]) as server:
        async with calling(server.url) as api:
            with pytest.raises(Unavailable) as raised:
                await api.call("GET", "x/")
    assert (str(raised.value), server.made) == (text, [("GET", "/x/")])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "body: "),
        ({"id": 1}, "id: "),
        ({"id": None}, "id: "),
        ("null", "body: "),
        (b"", "body: "),
    ],
)
async def test_wrong_types_are_named_and_count_as_a_fault_of_the_moment(body: object, problem: str) -> None:
    with faulty_server([answer(200, body)]) as server:
        async with calling(server.url) as api:
            told = await api.call("GET", "x/")
            with pytest.raises(Unavailable, match=problem) as raised:
                told.read(dict[str, str])
    assert (raised.value.status, raised.value.path) == (200, "x/")


async def test_the_time_to_stay_away_is_measured_by_the_servers_own_clock() -> None:
    date = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:28:42 GMT"}
    with faulty_server([answer(429, {}, date)]) as server:
        async with calling(server.url) as api:
            with pytest.raises(Unavailable) as raised:
                await api.call("GET", "x/")
    assert raised.value.retry_after == 42


async def test_after_a_fault_the_same_client_goes_on() -> None:
    with faulty_server([cut(GOOD), gigantic(), answer(200, GOOD)]) as server:
        async with calling(server.url) as api:
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await api.call("POST", "x/", body={"a": 1})
            assert (await api.call("POST", "x/", body={"a": 1})).body == GOOD
    assert [request.json for request in server.requests] == [{"a": 1}] * 3


async def test_what_was_done_although_the_answer_says_otherwise_is_not_done_again_by_the_client() -> None:
    with (
        faulty_server([answer(201, {"done": True})]) as real,
        faulty_server([passed(then=answer(500))], behind=real.url) as server,
    ):
        async with calling(server.url) as api:
            with pytest.raises(Unavailable, match="500"):
                await api.call("POST", "x/")
            assert real.made == [("POST", "/x/")]
            assert (await api.call("POST", "x/")).body == {"done": True}
