"""Reads settings files of checking tools into one flat table, whatever their format."""

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from pipeline.integrity.other_tests import SCRIPT, without_comments

MAX_VALUES = 20_000
"""More values than any honest settings file has; small files can be made to unfold into billions."""

Table = Mapping[str, object]
_NAMED_BY = ("module", "name", "id")
_SWITCH = re.compile(
    r"(?<![\w-])([\w@/-]+)['\"]?[ \t]*[:=][ \t]*"
    r"(?:(\d+(?:\.\d+)?|true|false)(?![\w.])|\[?[ \t]*['\"](off|warn|error)['\"])"
)


class UnreadableSettings(Exception):
    """The file is not in the format that its name promises, or too large to be one of settings."""


def parse(path: str, text: str) -> Table:
    """Dotted names with their values, lists kept whole. Raises `UnreadableSettings`."""
    try:
        data = _parser(path)(text)
        table: dict[str, object] = {}
        for number, (name, value) in enumerate(_flat(data, "")):
            if number > MAX_VALUES:
                raise UnreadableSettings(f"{path} has too many values")
            table[name] = value
    except (
        ArithmeticError,
        ValueError,
        configparser.Error,
        yaml.YAMLError,
        RecursionError,
        TypeError,
        AttributeError,
    ) as error:
        raise UnreadableSettings(str(error).partition("\n")[0]) from error
    return table


def _parser(path: str) -> Callable[[str], Any]:
    name = PurePosixPath(path).name
    suffix = PurePosixPath(name.lstrip(".")).suffix
    if suffix == ".toml":
        return tomllib.loads
    if suffix in (".yml", ".yaml"):
        return yaml.safe_load
    if suffix in (".js", ".ts", ".mjs", ".cjs", ".mts", ".cts"):
        return _script
    if suffix in (".json", ".jsonc") or name in (".nycrc", ".eslintrc", ".c8rc"):
        return _json
    return _ini


def _ini(text: str) -> dict[str, dict[str, str | None]]:
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, allow_no_value=True, delimiters=("=", ":"), default_section="\0"
    )
    parser.read_string(text)
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _json(text: str) -> Any:
    """JSON with the comments and last commas that tools allow in their own settings."""
    plain = without_comments(text, SCRIPT.comments)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", plain)) if plain.strip() else {}


def _script(text: str) -> dict[str, str]:
    """Of settings that are a program: where a name is given a number, a switch or a severity."""
    plain = without_comments(text, SCRIPT.comments)
    return {f"script.{match[1]}": match[2] or match[3] for match in _SWITCH.finditer(plain)}


def _flat(value: object, name: str) -> Iterator[tuple[str, object]]:
    """Goes down into everything that nests, so that nothing unfolds without being counted."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            label = str(key) if isinstance(key, (str, int, float)) else "?"
            yield from _flat(child, f"{name}.{label}" if name else label)
    elif isinstance(value, list) and any(isinstance(child, (dict, list)) for child in value):
        for number, child in enumerate(value):
            yield from _flat(child, f"{name}[{_label(child, number)}]")
    elif isinstance(value, list):
        yield name, tuple(map(str, value))
    else:
        yield name, float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _label(child: object, number: int) -> str:
    """What a table in a list is called: by its own name, so that a new neighbour does not rename it."""
    own = next((child[key] for key in _NAMED_BY if key in child), None) if isinstance(child, dict) else None
    return own if isinstance(own, str) else str(number)
