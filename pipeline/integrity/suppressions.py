"""Finds comments that silence a check for a line, a block or a file."""

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.integrity.changes import Change
from pipeline.integrity.findings import Finding, FindingKind
from pipeline.integrity.paths import is_artifact, is_sample
from pipeline.integrity.python_tests import is_python

_CODES = r"(?:\s*[:=\[(]\s*(?P<codes>[\w./@-]+(?:\s*,\s*[\w./@-]+)*)[\])]?)?"
_WORDS = r"(?:\s+(?P<codes>[\w./@-]+(?:\s*,\s*[\w./@-]+)*))?"

_PYTHON = {
    "Coverage": re.compile(r"pragma:\s*no\s*(?:cover|branch)", re.I),
    "Ruff or flake8": re.compile(rf"(?<!ruff: )(?<!flake8: )\bnoqa\b{_CODES}", re.I),
    "Ruff or flake8, for the whole file,": re.compile(rf"\b(?:ruff|flake8): noqa\b{_CODES}", re.I),
    "mypy": re.compile(rf"\btype:\s*ignore\b{_CODES}"),
    "mypy, for the whole file,": re.compile(rf"\bmypy:\s*(?:ignore-errors|disable-error-code)\b{_CODES}"),
    "pyright": re.compile(rf"\bpyright:\s*ignore\b{_CODES}"),
    "pyright, for the whole file,": re.compile(r"\bpyright:\s*(?:basic|report\w+\s*=\s*(?:false|none))"),
    "pylint": re.compile(rf"\bpylint:\s*(?:disable(?:-next|-line)?|skip-file)\b{_CODES}"),
    "bandit": re.compile(rf"\bnosec\b{_CODES}"),
}
_SLASHES = {
    "Coverage": re.compile(r"\b(?:istanbul|c8|v8)\s+ignore\b"),
    "ESLint, for a line,": re.compile(rf"\beslint-disable-(?:next-)?line\b{_WORDS}"),
    "ESLint": re.compile(rf"\beslint-disable\b(?!-){_WORDS}"),
    "TypeScript": re.compile(r"@ts-(?:ignore|nocheck|expect-error)\b"),
    "Biome": re.compile(rf"\bbiome-ignore(?:-all)?\b{_WORDS}"),
    "golangci-lint": re.compile(rf"//\s*nolint\b{_CODES}"),
    "SonarQube": re.compile(r"\bNOSONAR\b"),
}
_CODE = {
    "The Rust compiler": re.compile(rf"#!?\[allow{_CODES}"),
    "The Java compiler": re.compile(r"@SuppressWarnings\((?P<codes>[^)]*)\)"),
}
_SLASH_LANGUAGES = (
    *(".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte"),
    *(".go", ".rs", ".java", ".kt", ".scala", ".groovy", ".cs", ".swift", ".php", ".c", ".h", ".cpp"),
)
_SLASH_COMMENT = re.compile(r"(?<!:)//.*|/\*.*|^\s*\*.*|<!--.*|\{/\*.*")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One silenced check. No `codes`: all of the tool's."""

    tool: str
    codes: frozenset[str]
    path: str
    line: int
    text: str

    def covers(self, other: "Suppression") -> bool:
        """Whether this one silences everything that the other does."""
        return self.tool == other.tool and (not self.codes or bool(other.codes and other.codes <= self.codes))


def compare(changes: Sequence[Change]) -> Iterator[Finding]:
    """A finding for each suppression that is new; one that was only moved or narrowed is none."""
    old = [found for change in changes for found in _in_text(change.old_path, change.old_text)]
    new = [found for change in changes for found in _in_text(change.new_path, change.new_text)]
    for suppression in _left_over(old, new):
        kind = FindingKind.COVERAGE_EXCLUDED if suppression.tool == "Coverage" else FindingKind.CHECK_SILENCED
        sentence = f"{suppression.tool} is silenced here: {suppression.text}"
        yield Finding(suppression.path, suppression.line, kind, sentence)


def _left_over(old: list[Suppression], new: list[Suppression]) -> Iterator[Suppression]:
    """The new ones that no old one stands for: first its like in the same file, then whatever covers it."""
    kept = Counter(map(_identity, old)) & Counter(map(_identity, new))
    gone, fresh = _without(old, kept), _without(new, kept)
    for suppression in fresh:
        wider = next((other for other in gone if other.covers(suppression)), None)
        if wider is None:
            yield suppression
        else:
            gone.remove(wider)


def _identity(suppression: Suppression) -> tuple[str, frozenset[str], str]:
    return suppression.tool, suppression.codes, suppression.path


def _without(suppressions: list[Suppression], kept: Counter[tuple[str, frozenset[str], str]]) -> list[Suppression]:
    """What is left when each identity is taken out as often as it was kept."""
    left, taken = [], Counter(kept)
    for suppression in suppressions:
        identity = _identity(suppression)
        if taken[identity] > 0:
            taken[identity] -= 1
        else:
            left.append(suppression)
    return left


def _in_text(path: str | None, text: str) -> Iterator[Suppression]:
    if path is None or not text or is_sample(path) or is_artifact(path):
        return
    if is_python(path):
        yield from _found(path, _PYTHON, _python_comments(text))
    elif path.endswith(_SLASH_LANGUAGES):
        lines = list(enumerate(text.split("\n"), 1))
        comments = ((number, match[0]) for number, line in lines for match in [_SLASH_COMMENT.search(line)] if match)
        yield from _found(path, _SLASHES, comments)
        yield from _found(path, _CODE, lines)


def _found(
    path: str, patterns: dict[str, re.Pattern[str]], lines: Iterator[tuple[int, str]] | list[tuple[int, str]]
) -> Iterator[Suppression]:
    for number, line in lines:
        for tool, pattern in patterns.items():
            for match in pattern.finditer(line):
                codes = match.groupdict().get("codes") or ""
                names = frozenset(code.strip("\"'{} ").casefold() for code in re.split(r"[,\s]+", codes) if code)
                yield Suppression(tool, names, path, number, match[0].strip())


def _python_comments(text: str) -> list[tuple[int, str]]:
    """Comments with their lines; of text that is not Python, whatever follows a `#`."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError, ValueError):
        return [(number, line[line.index("#") :]) for number, line in enumerate(text.split("\n"), 1) if "#" in line]
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
