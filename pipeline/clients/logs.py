"""Reads the end of what a foreign command printed, so that it can be shown to people."""

import re
from pathlib import Path

LONGEST_LINE = 200
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def end_of(log: Path, size: int) -> str:
    """The last `size` bytes of a log as text; empty when the command has deleted it."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - size))
        return stream.read().decode(errors="replace")


def readable(text: str) -> str:
    """`text` without terminal escapes and control characters; line ends become plain ones. Pure."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", lines)


def last_line(text: str) -> str:
    """The last line that says anything, cut to 200 characters; empty when there is none. Pure."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next(filter(None, lines), "")[:LONGEST_LINE]
