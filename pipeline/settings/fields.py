"""How values of settings are written in the environment."""

import json
import shlex
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from pipeline.stages import STREAM, Role


def _words(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(json.loads(value)) if value.lstrip().startswith("[") else tuple(shlex.split(value))


def _numbers(value: object) -> object:
    return tuple(value.strip("[]").replace(",", " ").split()) if isinstance(value, str) else value


def _tokens(value: object) -> object:
    return json.loads(value or "{}") if isinstance(value, str) else value


def _of_known_voices(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    if unknown := sorted(set(value) - {STREAM, *Role}):
        raise ValueError(f"no role is {', '.join(unknown)}; there are {', '.join([*Role, STREAM])}")
    return value


Seconds = Annotated[float, Field(ge=0)]

Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
"""Words separated by blanks, quoted as in a shell, or a JSON list."""

Pauses = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)]
"""Seconds, separated by blanks or commas."""

Ids = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_numbers)]
"""Whole numbers, separated by blanks or commas, perhaps in brackets."""

Tokens = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_tokens), AfterValidator(_of_known_voices)]
"""A JSON object: a role's name, or that of the stream of transitions -> its bot's token."""
