"""Where the output of supervised processes goes: a rotated file each, and the terminal with the name in front."""

import asyncio
import codecs
import itertools
import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

COLOURS = ("36", "33", "32", "35", "34", "31")
"""ANSI foreground colours, given to names in the order in which they appear."""

MAX_BYTES = 20_000_000
MAX_LINE = 65_536
NAME_WIDTH = 10
TAIL_LINES = 20
TAIL_BYTES = 16_384


class Terminal:
    """The shared terminal, or nothing at all when `stream` is None. Colours only where a person looks: NO_COLOR."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._coloured = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, str] = {}
        self._next = itertools.cycle(COLOURS)

    def show(self, name: str, line: str) -> None:
        """Print `line` behind `name`, which is padded to one width."""
        if self._stream is None:
            return
        label = f"{name:<{NAME_WIDTH}} |"
        if self._coloured:
            if name not in self._colours:
                self._colours[name] = next(self._next)
            label = f"\x1b[{self._colours[name]}m{label}\x1b[0m"
        try:
            print(label, line, file=self._stream, flush=True)
        except BrokenPipeError:  # whoever read along has left; the files go on
            self._stream = None

    def say(self, line: str) -> None:
        """Print a word of the supervisor itself."""
        self.show("orch", line)


class ChildLog:
    """The output of one child: `<folder>/<name>.log`, one older file beside it, and the terminal."""

    def __init__(self, folder: Path, name: str, terminal: Terminal) -> None:
        self.path = folder / f"{name}.log"
        self._name = name
        self._terminal = terminal
        self._file = RotatingFileHandler(self.path, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(message)s"))

    async def copy(self, output: asyncio.StreamReader) -> None:
        """Write every line of `output` until it ends; bytes that are not UTF-8 are replaced, endless lines are cut."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pending = ""
        while chunk := await output.read(MAX_LINE):
            *lines, pending = (pending + decoder.decode(chunk)).split("\n")
            if len(pending) > MAX_LINE:
                lines, pending = [*lines, pending], ""
            for line in lines:
                self._write(line.rstrip("\r"))
        if pending:
            self._write(pending)

    def say(self, line: str) -> None:
        """Write a word of the supervisor about this child."""
        self._write(f"orch: {line}")

    def tail(self) -> list[str]:
        """The last lines that were written."""
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.handle(logging.makeLogRecord({"msg": line}))
        self._terminal.show(self._name, line)
