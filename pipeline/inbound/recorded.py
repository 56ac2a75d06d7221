"""A delivery that somebody recorded in a file: its headers and its raw body, read without any I/O."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError

from pipeline.errors import UnreadableDelivery

_BODIES = ("body_b64", "body_raw")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A webhook as it came in; the headers' names in lower case."""

    headers: Mapping[str, str]
    body: bytes


def _pairs(told: Any) -> Any:
    """Headers as pairs of texts, whether recorded as an object, as pairs, or as objects with `name` and `value`."""
    if isinstance(told, dict):
        told = list(told.items())
    if not isinstance(told, list):
        return told
    pairs = [(one.get("name"), one.get("value")) if isinstance(one, dict) else one for one in told]
    return [_texts(pair) for pair in pairs if not _is_nameless(pair)]


def _is_nameless(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and not isinstance(pair[0], str)


def _texts(pair: Any) -> Any:
    """The pair with a number or the first of several values as text; what is no pair is left to be refused."""
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return pair
    name, value = pair
    while isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return name, ""
    return name, str(value) if isinstance(value, int | float) else value


class _File(BaseModel):
    """What a recording may hold. `body_b64` and `body_raw` are the bytes that came; of an API's answer there are none."""

    headers: Annotated[list[tuple[str, str]] | None, BeforeValidator(_pairs)] = None
    body_b64: str | None = None
    body_raw: str | None = None
    note: str | None = None


def read_recorded(text: bytes) -> Recorded | str:
    """The recorded delivery, or the reason why the recording holds none.

    Headers and body may also stand under `request`. Raises `UnreadableDelivery` for what is no recording at all: not
    JSON, no object, a field of another type.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableDelivery(f"is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UnreadableDelivery("is JSON, but not an object with `headers` and `body_b64` or `body_raw`")
    request = content.get("request")
    whole = _with_request(content, request) if isinstance(request, dict) else content
    if "request" in content and "status" in content and not _has_body(whole):
        return "The recording is an API's answer to a request, not a delivery."
    try:
        file = _File.model_validate(whole)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise UnreadableDelivery(f"has a wrong field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return _delivery(file)


def _with_request(content: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recording with what stands under `request`; the body's own headers come before others."""
    first, second = (content, request) if _has_body(content) else (request, content)
    return {**content, **{name: _told(first, second, name) for name in ("headers", *_BODIES)}}


def _told(first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> Any:
    return second.get(name) if first.get(name) is None else first[name]


def _has_body(told: Mapping[str, Any]) -> bool:
    return any(told.get(name) is not None for name in _BODIES)


def _delivery(file: _File) -> Recorded | str:
    body = _body(file)
    if file.headers is None or body is None:
        lacks = "headers" if file.headers is None else "raw body (`body_b64` or `body_raw`)"
        return f"The recording holds no delivery: it has no {lacks}.{' Its note: ' + file.note if file.note else ''}"
    return Recorded(_first_of_each(file.headers), body)


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of a header that comes twice, in whatever case, the first counts, as in the receiver."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        headers.setdefault(name.lower(), value)
    return headers


def _body(file: _File) -> bytes | None:
    if file.body_b64 is None:
        return None if file.body_raw is None else file.body_raw.encode(errors="replace")
    digits = "".join(file.body_b64.split()).rstrip("=")  # `base64` breaks lines, others leave the padding out
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        raise UnreadableDelivery(f"has a wrong field body_b64: {error}") from None
