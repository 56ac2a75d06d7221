"""What the HTTP clients share: one connection pool, and one translation of answers into Orch's exceptions."""

import asyncio
import json
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Self, TypeVar

import httpx
from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_core import from_json

from pipeline.errors import InDoubt, Missing, Refused, SettingsError, Unavailable

Shape = TypeVar("Shape")

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
"""Longest silence in the middle of an answer."""

CALL_TIMEOUT_S = 60.0
"""Longest that a whole call may take, however steadily the answer trickles in."""

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer, unpacked, that are read; a full page of any list is far below."""

LONGEST_RETRY_AFTER_S = 3600.0
"""However long a server says to stay away, it is asked again after this."""

_MESSAGE_KEYS = ("message", "detail", "error", "error_message", "description")
_LONGEST_MESSAGE = 300


@cache
def certificates(*, trust_env: bool = True) -> ssl.SSLContext:
    """The certificates that httpx trusts by itself, read once in a process: reading them takes longer than most calls.

    With `trust_env` those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name at the first call.
    """
    return httpx.create_ssl_context(trust_env=trust_env)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was understood as far as HTTP goes; `body` is its JSON, None when it is empty or something else."""

    system: str
    method: str
    path: str
    status: int
    body: Any
    message: str

    @property
    def good(self) -> bool:
        """Whether the call did what it was asked to do."""
        return 200 <= self.status < 300

    def checked(self) -> "Answer":
        """This answer if it is good. Raises `Missing` for 404, `Refused` for any other refusal."""
        if not self.good:
            raise self.refusal()
        return self

    def refusal(self) -> Refused:
        """The exception that this answer stands for."""
        text = f"{self.system} refused {self.method} {self.path}: {self.status} {self.message}".rstrip()
        kind = Missing if self.status == 404 else Refused
        return kind(f"{text}.", status=self.status, path=self.path)

    def read(self, shape: type[Shape]) -> Shape:
        """The body of a good answer as `shape`. Raises `Unavailable` with the names of fields that are not as expected.

        A field that is missing is taken for a fault of the moment (a proxy, an upgrade under way), not for a refusal.
        """
        self.checked()
        try:
            return TypeAdapter(shape).validate_python(self.body)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:3])
            text = f"{self.system}'s answer to {self.method} {self.path} is not as expected: {problems}."
            raise Unavailable(text, status=self.status, path=self.path) from None


class HttpApi:
    """One outside system's JSON API. Nothing is retried here: the tasks that call it do that.

    The secret never gets into an exception's text, even where the server repeats it. `admit` is awaited before each
    request; what it raises is the request's fate. `patience_s` is the longest silence of an answer, `READ_TIMEOUT_S` by
    itself.
    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        secret: SecretStr,
        headers: Mapping[str, str] | None = None,
        admit: Callable[[], Awaitable[None]] | None = None,
        patience_s: float | None = None,
    ) -> None:
        self.system = system
        self._admit = admit
        self._secret = secret
        try:
            self._client = httpx.AsyncClient(
                base_url=base_url,
                headers={"Accept": "application/json", **(headers or {})},
                timeout=httpx.Timeout(patience_s or READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                follow_redirects=False,
                verify=certificates(),
            )
        except httpx.InvalidURL as error:
            raise SettingsError(f"{system}'s address cannot be used: {error}; correct it.") from None

    async def send(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, body: object = None
    ) -> Answer:
        """Make one call and return the answer, refusals included.

        Raises `Unavailable` when there is none, for 408, 429 and 5xx, for one that is too large, and for one that is not
        the system's own word: a redirect, and whatever is not JSON. What stands between (Traefik, an ingress, Caddy)
        answers with a page of its own, 404 as often as 502, while the system is gone. `InDoubt` when it takes too long.
        """
        where = f"{method} {path}"
        response = await self._fetch(method, path, params, body)
        content, is_json = _json(response)
        message = self._redacted(_message(response, content, is_json=is_json))[:_LONGEST_MESSAGE].rstrip(".")
        status = response.status_code
        if status in (408, 429) or status >= 500:
            text = f"{self.system} is not available for {where}: {status} {message}".rstrip()
            raise Unavailable(f"{text}.", status=status, path=path, retry_after=_retry_after(response, content))
        if not is_json or 300 <= status < 400:
            raise Unavailable(_not_its_word(self.system, where, status, message), status=status, path=path)
        return Answer(self.system, method, path, status, content, message)

    async def _fetch(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: object
    ) -> httpx.Response:
        """The whole answer. Raises `Unavailable`, whose cause is left out: it may repeat the request's headers."""
        where = f"{method} {path}"
        if self._admit is not None:
            await self._admit()
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                self._client.stream(method, path, params=params, json=body) as response,
            ):
                content = await _bounded(response)
        except httpx.ReadTimeout:
            raise InDoubt(f"{self.system} has not answered {where} in time.", path=path) from None
        except httpx.HTTPError as error:
            text = f"{self.system} cannot be reached for {where}: {type(error).__name__}."
            raise Unavailable(text, path=path) from None
        except TimeoutError:
            text = f"{self.system} did not finish its answer to {where} within {CALL_TIMEOUT_S:g} s."
            raise InDoubt(text, path=path) from None
        if content is None:
            text = f"{self.system}'s answer to {where} is larger than {LARGEST_ANSWER} bytes; nothing of it was used."
            raise Unavailable(text, status=response.status_code, path=path)
        return httpx.Response(response.status_code, headers=_of_content(response.headers), content=content)

    async def call(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, body: object = None
    ) -> Answer:
        """Make one call that must succeed. Raises `Unavailable`, `Missing` or `Refused`."""
        return (await self.send(method, path, params=params, body=body)).checked()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _redacted(self, text: str) -> str:
        secret = self._secret.get_secret_value()
        return text.replace(secret, "***") if secret else text


class HttpClient:
    """Base of the clients: owns an `HttpApi` and closes it."""

    def __init__(self, http: HttpApi) -> None:
        self._http = http

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def _bounded(response: httpx.Response) -> bytes | None:
    """The body, unpacked; None as soon as it is known to be too large."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > LARGEST_ANSWER:
            return None
    return bytes(content)


def _of_content(headers: httpx.Headers) -> httpx.Headers:
    """The headers of an answer that is unpacked already."""
    kept = headers.copy()
    for name in ("Content-Encoding", "Content-Length", "Transfer-Encoding"):
        kept.pop(name, None)
    return kept


def _json(response: httpx.Response) -> tuple[Any, bool]:
    """The body as JSON, and whether it could be read so. An empty body counts as JSON's null.

    Text that is no Unicode, numbers too long to print and nesting too deep are no JSON here.
    """
    if not response.content.strip():
        return None, True
    try:
        return from_json(response.content), True
    except ValueError:
        return None, False


def _message(response: httpx.Response, content: Any, *, is_json: bool) -> str:
    """What the server says about a refusal, on one line, of characters that a log and a database take."""
    if response.is_redirect:
        return "it redirects to another address; check the address that is configured here"
    text = response.text if not is_json else ""
    if isinstance(content, dict):
        named = [content[key] for key in _MESSAGE_KEYS if key in content]
        told = next(filter(None, named), "") if named else content
        text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    elif content is not None:
        text = json.dumps(content, ensure_ascii=False)
    printable = "".join(char if char.isprintable() else " " for char in text[: 10 * _LONGEST_MESSAGE])
    return " ".join(printable.split())


def _not_its_word(system: str, where: str, status: int, message: str) -> str:
    """What is said of an answer that something else than the system may well have given."""
    if 300 <= status < 400:
        return f"{system} did not answer {where}: {status} {message}."
    if status < 300:
        return f"{system} answered {where} with something else than JSON."
    return f"{system} answered {where} with something else than JSON, as what stands between does: {status} {message}."


def _retry_after(response: httpx.Response, content: Any) -> float | None:
    """Seconds to wait, an hour at most: the header (Plane: seconds; proxies: a date), or `parameters.retry_after`.

    The latter is Telegram's. A date is compared with the answer's own, so that this machine's clock does not matter.
    """
    told = response.headers.get("Retry-After")
    if told is None and isinstance(content, dict) and isinstance(content.get("parameters"), dict):
        told = content["parameters"].get("retry_after")
    seconds = _seconds(told)
    until = _date(told) if seconds is None else None
    if until is not None:
        seconds = max((until - (_date(response.headers.get("Date")) or datetime.now(UTC))).total_seconds(), 0)
    return min(seconds, LONGEST_RETRY_AFTER_S) if seconds is not None and seconds >= 0 else None


def _seconds(told: object) -> float | None:
    try:
        seconds = float(str(told))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _date(told: object) -> datetime | None:
    """A date of HTTP's; None for anything else."""
    try:
        date = parsedate_to_datetime(str(told))
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
