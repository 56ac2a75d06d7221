"""Reads the text of `git diff` into changed files, old and new version side by side."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from pipeline.errors import CouldNotRun

SYMLINK = "120000"
SUBMODULE = "160000"

_HEADER = re.compile(
    r"diff --git |index [0-9a-f]+\.\.[0-9a-f]+|(?:old|new|new file|deleted file) mode \d{6}$|(?:dis)?similarity index "
    r"|(?:rename|copy) (?:from|to) |--- |\+\+\+ |@@ -|Binary files .* differ$|\\ No newline"
)
_INFO = re.compile(r"(rename from|rename to|old mode|new mode|new file mode|deleted file mode) (.*)")
_BLOBS = re.compile(r"index ([0-9a-f]+)\.\.([0-9a-f]+)")
_NO_CONTENT = re.compile(r"0+$|e69de29|473a0f4c")
"""Ids of no blob and of the empty one, SHA-1 and SHA-256."""
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class UnreadableDiff(CouldNotRun, ValueError):
    """The text is not a complete diff with whole files as context; nothing can be said about the change."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"Whether the change weakens its checks cannot be told: {problem.rstrip('.')}. "
            "Run the stage again; if that does not help, look at the branch by hand."
        )


@dataclass(frozen=True, slots=True)
class Line:
    """An added line with its number in the new version, or a removed one with its number in the old."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One changed file. A side that does not exist has no path; content that git does not show is empty.

    In a text every line has its end, the last one too.
    """

    old_path: str | None
    new_path: str | None
    old_text: str = ""
    new_text: str = ""
    added: tuple[Line, ...] = ()
    removed: tuple[Line, ...] = ()
    old_mode: str = ""
    new_mode: str = ""
    binary: bool = False

    @property
    def path(self) -> str:
        """Where the file is now, or was when it is gone."""
        return self.new_path or self.old_path or ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The names that the file had and has."""
        return tuple(dict.fromkeys(path for path in (self.old_path, self.new_path) if path))

    @property
    def verb(self) -> str:
        """What happened to the file, as the end of a sentence."""
        if self.new_path is None:
            return "removed"
        if self.old_path is None:
            return "added"
        return "changed" if self.old_path == self.new_path else f"renamed from {self.old_path}"

    @property
    def first_line(self) -> int:
        """The first line that changed."""
        return min((line.number for line in self.added or self.removed), default=1)

    def line_with(self, *needles: str) -> int:
        """The changed line that contains the first needle found, new ones before old ones, else the first changed."""
        for needle in filter(None, needles):
            for line in (*self.added, *self.removed):
                if needle in line.text:
                    return line.number
        return self.first_line


def read(diff: str) -> tuple[Change, ...]:
    """The changed files, in the diff's order; empty for an empty diff. Raises `UnreadableDiff`."""
    if not diff.strip():
        return ()
    text = diff if diff.endswith("\n") else f"{diff}\n"
    try:
        files = PatchSet(text)
    except (UnidiffParseError, ValueError, AssertionError) as error:
        raise UnreadableDiff(f"the diff cannot be parsed: {str(error).strip()[:120]}") from error
    _refuse_strays(text, files)
    return tuple(_change(file) for file in files)


def _refuse_strays(text: str, files: PatchSet) -> None:
    """The parser skips what it does not know; here that is a damaged diff."""
    inside = {line.diff_line_no for file in files for hunk in file for line in hunk}
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if number not in inside and not _HEADER.match(line):
            raise UnreadableDiff(f"line {number} of the diff belongs to no file: {line[:80]!r}")
    if not text.startswith("diff --git "):
        raise UnreadableDiff("the diff does not begin with `diff --git`.")


def _change(file: PatchedFile) -> Change:
    header = [line.rstrip("\n") for line in file.patch_info or ()]
    info = {match[1]: match[2] for match in map(_INFO.match, header) if match}
    old, new = _paths(file, info)
    _refuse_incomplete(file, header, info, new or old or "")
    lines = [line for hunk in file for line in hunk]
    return Change(
        old_path=old,
        new_path=new,
        old_text="".join(line.value for line in lines if line.is_removed or line.is_context),
        new_text="".join(line.value for line in lines if line.is_added or line.is_context),
        added=tuple(Line(line.target_line_no or 1, line.value.rstrip("\r\n")) for line in lines if line.is_added),
        removed=tuple(Line(line.source_line_no or 1, line.value.rstrip("\r\n")) for line in lines if line.is_removed),
        old_mode=info.get("old mode") or info.get("deleted file mode") or file.source_mode or "",
        new_mode=info.get("new mode") or info.get("new file mode") or file.target_mode or "",
        binary=file.is_binary_file,
    )


def _paths(file: PatchedFile, info: dict[str, str]) -> tuple[str | None, str | None]:
    if "rename from" in info or "rename to" in info:
        return _unquoted(info.get("rename from", "")), _unquoted(info.get("rename to", ""))
    old = None if "new file mode" in info else _unquoted(file.source_file, "a/")
    new = None if "deleted file mode" in info else _unquoted(file.target_file, "b/")
    if old and new and old != new:
        raise UnreadableDiff(f"the diff does not say whether {old} and {new} are one file.")
    return old, new


def _unquoted(name: str, prefix: str = "") -> str:
    """A path as it is on disk: git quotes odd ones like C strings and marks the sides with a/ and b/."""
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        raw = _ESCAPE.sub(_unescaped, name[1:-1].encode(errors="surrogateescape"))
        name = raw.decode(errors="replace")
    if not name.startswith(prefix) or name == prefix:
        raise UnreadableDiff(f"the diff names a file without the prefix {prefix!r}: {name!r}")
    return name[len(prefix) :]


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _ESCAPED.get(code, code)


def _refuse_incomplete(file: PatchedFile, header: list[str], info: dict[str, str], path: str) -> None:
    for problem in _missing_parts(file, header, info):
        raise UnreadableDiff(f"the diff of {path} is not complete: {problem}.")


def _missing_parts(file: PatchedFile, header: list[str], info: dict[str, str]) -> Iterator[str]:
    if len(header) < 2 and not file.is_binary_file:
        yield "it says nothing but the name"
    for one, other in (("old mode", "new mode"), ("rename from", "rename to")):
        if (one in info) != (other in info):
            yield f"`{one}` and `{other}` belong together"
    if len(file) > 1 or any(hunk.source_start > 1 or hunk.target_start > 1 for hunk in file):
        yield "it shows a part of the file; make it with enough lines of context for the whole"
    if not file and not file.is_binary_file and not _without_content(header, info):
        yield "the content is missing"


def _without_content(header: list[str], info: dict[str, str]) -> bool:
    """Whether a header needs no lines after it: the blobs are the same, none, or empty."""
    blobs = next(filter(None, map(_BLOBS.match, header)), None)
    if blobs is not None:
        return blobs[1] == blobs[2] or all(_NO_CONTENT.match(blob) for blob in blobs.groups())
    renamed_as_it_is = "rename to" not in info or "similarity index 100%" in header
    return renamed_as_it_is and not {"new file mode", "deleted file mode"} & info.keys()
