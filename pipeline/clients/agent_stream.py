"""Reads what a coding agent says about its own run: one JSON object a line, as Claude Code writes them.

With `--output-format stream-json` these are `system` lines first, then `assistant` and `user` messages, last one line
of type `result`; with `json` that last line alone (from its public documentation, not measured). Any other program may
write such lines, too. Everything else in a log is passed over, and so are fields that nobody here accounts for.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.model import Usage

MAX_COUNT = 2**53
"""No real count is larger, and a larger one would not fit into a database's integer."""
MAX_LINE_BYTES = 32_000_000
"""A longer line is passed over unread: an agent that prints a file of any size must not fill our memory."""

_FENCE = re.compile(r"\A```[a-z]*\n(.*)\n```\Z", re.DOTALL)
"""Models like to put JSON into a code block."""

_TYPES = (b'"result"', b'"assistant"', b'"init"')
_COUNTED = {
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
    "output_tokens": "output_tokens",
}
"""Field of `Usage` -> its name in a `usage` object."""
_NUMBERS = {
    **{ours: ("usage", theirs) for ours, theirs in _COUNTED.items()},
    "cost_usd": ("total_cost_usd",),
    "turns": ("num_turns",),
}
"""Field of `Usage` -> where it stands in a result line."""


@dataclass(frozen=True, slots=True)
class Said:
    """What an agent said about its run. `complete`: it came to its result line; else usage is what was seen, at no cost.

    `model` is what it said at the start, `refused` the tools that it asked for and did not get, with how often, and
    `oddities` names the fields that did not hold what they should.
    """

    usage: Usage = field(default_factory=Usage)
    complete: bool = False
    is_error: bool = False
    kind: str = ""
    question: str = ""
    model: str = ""
    refused: Mapping[str, int] = field(default_factory=dict)
    oddities: tuple[str, ...] = ()


def read_stream(log: Path) -> Said:
    """What a log says. The last result line counts; without one the messages do, each once. Blocks while it reads."""
    model, messages, result = "", dict[object, Mapping[str, object]](), None
    for number, fields in enumerate(_objects(log)):
        match fields.get("type"):
            case "result":
                result = fields
            case "assistant" if isinstance((message := _mapping(fields.get("message"))).get("usage"), dict):
                messages[message.get("id") if isinstance(message.get("id"), str) else number] = message
            case "system" if fields.get("subtype") == "init":
                model = _text(fields.get("model"))
    return _seen(messages, model) if result is None else _result(result, model)


def usage_so_far(log: Path) -> Usage:
    """What an agent that was interrupted had used up, as far as it had said so. Blocks while it reads."""
    return read_stream(log).usage if log.is_file() else Usage()


def _objects(log: Path) -> Iterator[Mapping[str, object]]:
    """The lines of a log that may matter and are JSON objects: a log holds whatever its program printed."""
    with log.open("rb") as lines:
        whole = True
        while line := lines.readline(MAX_LINE_BYTES):
            begins, whole = whole, line.endswith(b"\n")
            last_of_log = not whole and len(line) < MAX_LINE_BYTES
            if begins and (whole or last_of_log) and line.lstrip().startswith(b"{") and any(t in line for t in _TYPES):
                yield _mapping(_parsed(line))


def _parsed(text: bytes | str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seen(messages: Mapping[object, Mapping[str, object]], model: str) -> Said:
    """A stream without its end. The same message is written once for each of its parts, with the same usage."""
    used = [
        {ours: _number(_mapping(message.get("usage")).get(theirs, 0)) or 0.0 for ours, theirs in _COUNTED.items()}
        for message in messages.values()
    ]
    total = {name: sum(one[name] for one in used) for name in _COUNTED}
    return Said(_usage({**total, "cost_usd": 0.0, "turns": float(len(used))}), model=model)


def _result(fields: Mapping[str, object], model: str) -> Said:
    numbers = {name: _number(_at(fields, path)) for name, path in _NUMBERS.items()}
    kind = _text(fields.get("subtype"))
    return Said(
        usage=_usage({name: number or 0.0 for name, number in numbers.items()}),
        complete=True,
        is_error=bool(fields.get("is_error")) or kind.startswith("error"),
        kind=kind,
        question=_question(fields),
        model=model,
        refused=_refused(fields.get("permission_denials")),
        oddities=tuple(".".join(_NUMBERS[name]) for name, number in numbers.items() if number is None),
    )


def _usage(numbers: Mapping[str, float]) -> Usage:
    return Usage(
        **{name: min(int(numbers[name]), MAX_COUNT) for name in (*_COUNTED, "turns")}, cost_usd=numbers["cost_usd"]
    )


def _refused(denials: object) -> Mapping[str, int]:
    tools = (_text(_mapping(denial).get("tool_name")) for denial in (denials if isinstance(denials, list) else ()))
    return Counter(tool[:60] for tool in tools if tool)


def _at(fields: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at `path`; 0 when it is absent, as numbers are that a program does not keep."""
    value: object = fields
    for name in path:
        if not isinstance(value, dict):
            return None
        if name not in value:
            return 0
        value = value[name]
    return value


def _number(value: object) -> float | None:
    """An amount that can be counted; None for anything else, NaN included, which Python's JSON lets in."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return float(value)


def _question(fields: Mapping[str, object]) -> str:
    """What the agent asks: the field `question`, or a final message that is nothing but `{"question": ...}`, fenced or not.

    Claude Code's own fields cannot be written by the model, its final message can.
    """
    asked = fields.get("question")
    message = fields.get("result")
    if asked is None and isinstance(message, str):
        said = _parsed(_FENCE.sub(r"\1", message.strip()))
        asked = said.get("question") if isinstance(said, dict) else None
    return asked.strip() if isinstance(asked, str) else ""
