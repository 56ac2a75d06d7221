"""A delivery that somebody recorded in a file: its headers and its raw body, read without any I/O."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from pipeline.errors import UnreadableDelivery


@dataclass(frozen=True, slots=True)
class Recorded:
    """A webhook as it came in."""

    headers: Mapping[str, str]
    body: bytes


class _File(BaseModel):
    """What a recording may hold. `body_b64` and `body_raw` are the bytes that came; of an API's answer there are none."""

    headers: dict[str, str] | list[tuple[str, str]] | None = None
    body_b64: str | None = None
    body_raw: str | None = None
    note: str = ""


def read_recorded(text: bytes) -> Recorded | str:
    """The recorded delivery, or the reason why the recording holds none.

    Raises `UnreadableDelivery` for what is no recording at all: not JSON, no object, a field of another type.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableDelivery(f"is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UnreadableDelivery("is JSON, but not an object with `headers` and `body_b64` or `body_raw`")
    if "request" in content and "status" in content:
        return "The recording is an API's answer to a request, not a delivery."
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise UnreadableDelivery(f"has a wrong field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return _delivery(file)


def _delivery(file: _File) -> Recorded | str:
    body = _body(file)
    if file.headers is None or body is None:
        lacks = "headers" if file.headers is None else "raw body (`body_b64` or `body_raw`)"
        return f"The recording holds no delivery: it has no {lacks}.{' Its note: ' + file.note if file.note else ''}"
    pairs = list(file.headers.items()) if isinstance(file.headers, dict) else file.headers
    return Recorded(dict(reversed(pairs)), body)  # of a header that comes twice the first counts, as in the receiver


def _body(file: _File) -> bytes | None:
    if file.body_b64 is None:
        return None if file.body_raw is None else file.body_raw.encode(errors="replace")
    try:
        return base64.b64decode(file.body_b64, validate=True)
    except ValueError as error:
        raise UnreadableDelivery(f"has a wrong field body_b64: {error}") from None
