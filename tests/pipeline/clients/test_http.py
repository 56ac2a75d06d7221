"""How answers become exceptions."""

import ssl
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clients.http import HttpApi, certificates
from pipeline.errors import Missing, Refused, Unavailable

TOKEN = "very-secret-token"


@pytest.fixture
async def api(replay: Any) -> Any:
    http = HttpApi("Plane", f"{replay.url}/", secret=SecretStr(TOKEN))
    yield http
    await http.aclose()


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (400, {"state": ["not a UUID"]}, Refused, 'Plane refused GET x: 400 {"state": ["not a UUID"]}.'),
        (403, {"detail": "Given API token is not valid"}, Refused, "403 Given API token is not valid."),
        (404, {"error": "The requested resource does not exist."}, Missing, "404 The requested resource does not"),
        (404, "404 page not found\n", Unavailable, "as what stands between does: 404 404 page not found."),
        (403, "<html>Forbidden</html>", Unavailable, "403 <html>Forbidden</html>."),
        (302, "<a href='/login'>Found</a>", Unavailable, "302 it redirects to another address"),
        (404, "", Missing, "Plane refused GET x: 404."),
        (409, {"message": "head out of date", "url": "u"}, Refused, "409 head out of date."),
        (301, "", Unavailable, "it redirects to another address"),
        (429, {"error_code": 5900, "error_message": "RATE_LIMIT_EXCEEDED"}, Unavailable, "429 RATE_LIMIT_EXCEEDED."),
        (408, None, Unavailable, "Plane is not available for GET x: 408."),
        (502, "<html>Bad gateway</html>", Unavailable, "502 <html>Bad gateway</html>."),
        (200, "<html>Log in</html>", Unavailable, "something else than JSON"),
    ],
)
async def test_what_is_not_good_raises(
    api: HttpApi, replay: Any, status: int, body: Any, kind: type[Exception], text: str
) -> None:
    replay.on("GET", "/x", status, body)
    with pytest.raises(kind) as raised:
        await api.call("GET", "x")
    assert type(raised.value) is kind
    assert text in str(raised.value)
    assert raised.value.status == status  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ("59", {}, 59.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", {}, 0.0),
        ("Wed, 21 Oct 2999 07:28:00 GMT", {}, 3600.0),
        ("86400", {}, 3600.0),
        ("soon", {}, None),
        ("-1", {}, None),
        ("nan", {}, None),
        (None, {"parameters": {"retry_after": 7}}, 7.0),
        (None, {"parameters": None}, None),
        (None, [], None),
    ],
)
async def test_the_time_to_wait_is_told(
    api: HttpApi, replay: Any, header: str | None, body: Any, expected: float | None
) -> None:
    replay.on("GET", "/x", 429, body, **({"Retry-After": header} if header else {}))
    with pytest.raises(Unavailable) as raised:
        await api.call("GET", "x")
    assert raised.value.retry_after == expected


async def test_a_recorded_rate_limit_tells_its_seconds(api: HttpApi, replay: Any) -> None:
    recording = replay.recorded("plane/api-err-429")
    with pytest.raises(Unavailable) as raised:
        await api.call("GET", recording["request"]["path"].lstrip("/"))
    assert (raised.value.status, raised.value.retry_after) == (429, 59.0)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    api = HttpApi("Plane", "http://127.0.0.1:1/", secret=SecretStr(TOKEN))
    with pytest.raises(Unavailable, match="Plane cannot be reached for GET x: ConnectError"):
        await api.call("GET", "x")
    await api.aclose()


async def test_a_secret_that_the_server_repeats_is_not_told(api: HttpApi, replay: Any) -> None:
    replay.on("GET", "/x", 401, {"message": f"bad token {TOKEN}"})
    with pytest.raises(Refused) as raised:
        await api.call("GET", "x")
    assert str(raised.value) == "Plane refused GET x: 401 bad token ***."


async def test_an_answer_that_lacks_a_field_names_it(api: HttpApi, replay: Any) -> None:
    replay.on("GET", "/x", 200, {"a": 1})
    answer = await api.call("GET", "x")
    with pytest.raises(Unavailable, match="not as expected: body: "):
        answer.read(str)


async def test_a_refusal_keeps_its_path(api: HttpApi, replay: Any) -> None:
    replay.on("PATCH", "/x", 400, {"message": "no"})
    with pytest.raises(Refused) as raised:
        await api.call("PATCH", "x")
    assert raised.value.path == "x"


@pytest.mark.parametrize("trust_env", [True, False])
def test_certificates_are_read_once_and_asked_for(trust_env: bool) -> None:
    known = certificates(trust_env=trust_env)
    assert known is certificates(trust_env=trust_env)
    assert (known.verify_mode, known.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert known.get_ca_certs()
