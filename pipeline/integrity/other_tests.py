"""Reads tests of other languages, and Python that cannot be parsed, by patterns: coarser than a syntax tree."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.integrity.findings import FindingKind
from pipeline.integrity.paths import is_test
from pipeline.integrity.suite import Marker, Unit

_CALL = re.compile(r"(\w+)!?\s*\(")
_JS_TEXT = r"(?:'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`)"
_SLASH_COMMENT = rf"{_JS_TEXT}|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"
_NO_CHAR_TEXT = r"\"(?:\\.|[^\"\\])*\"|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"


@dataclass(frozen=True, slots=True)
class Language:
    """Patterns of one language. `test` has the group `name`; `comments` matches texts, and comments as `comment`.

    A test ends with the closing one of its `brackets`: the first that opens after its name or, with `inside`, the one
    that its name stands in. Without brackets it ends where the next test begins.
    """

    test: re.Pattern[str]
    assertion: re.Pattern[str]
    hollow: re.Pattern[str]
    skip: re.Pattern[str]
    comments: re.Pattern[str]
    brackets: str = ""
    inside: bool = False
    own_files: bool = True


def _language(
    *,
    test: str,
    assertion: str,
    hollow: str,
    skip: str,
    comments: str,
    brackets: str = "",
    inside: bool = False,
    own_files: bool = True,
) -> Language:
    return Language(
        re.compile(test, re.MULTILINE | re.DOTALL),
        re.compile(assertion),
        re.compile(hollow),
        re.compile(skip, re.MULTILINE),
        re.compile(comments, re.DOTALL),
        brackets,
        inside,
        own_files,
    )


SCRIPT = _language(
    test=rf"(?<![\w.$])(?:it|test|specify|xit|xtest|fit)(?:\.\w+)*(?:\.each)?(?:\([^()\n]*\)|`[^`]*`)?"
    rf"\(\s*(?P<name>{_JS_TEXT})",
    assertion=r"(?<![\w$])(?:expect|assert|should)\b[\w.]*\s*\(|\.should\.|(?<!\w)t\.(?:is|deepEqual|throws|true|false)\(",
    hollow=r"expect\((true|1|'\w*')\)\.(?:toBe|toEqual|toStrictEqual)\(\1\)|expect\(true\)\.toBe(?:Truthy|Defined)\(\)"
    r"|expect\(false\)\.toBeFalsy\(\)|assert(?:\.ok)?\(true\)",
    skip=r"(?<![\w.$])(?:it|test|describe|context|suite|specify)(?:\.\w+)*?"
    r"\.(?:skip|skipIf|todo|only|fixme|failing|fails|runIf)\b|(?<![\w.$])(?:x|f)(?:it|test|describe|context|specify)\("
    r"|(?<!\w)this\.skip\(\)",
    comments=_SLASH_COMMENT,
    brackets="()",
    inside=True,
)
GO = _language(
    test=r"^func (?P<name>(?:Test|Fuzz|Example|Benchmark)\w*)\(",
    assertion=r"(?<!\w)[tbf]\.(?:Error|Fatal|Fail)\w*\(|(?<!\w)(?:assert|require|is)\.\w+\(",
    hollow=r"(?:assert|require)\.True\(\w+, true\)|(?:assert|require)\.Equal\(\w+, (\w+), \1\)",
    skip=r"(?<!\w)[tbf]\.Skip(?:f|Now)?\(|^//go:build .*|^// \+build .*",
    comments=r"\"(?:\\.|[^\"\\\n])*\"|`[^`]*`|(?P<comment>//(?!go:build)(?! \+build)[^\n]*|/\*.*?(?:\*/|\Z))",
    brackets="{}",
)
RUST = _language(
    test=r"#\[(?:\w+::)*(?:test|rstest|test_case|quickcheck)\b[^\]]{0,500}\][^{;]{0,2000}?\bfn\s+(?P<name>\w+)",
    assertion=r"\b(?:prop_)?assert\w*!|\bpanic!|#\[should_panic|\.(?:unwrap_err|expect_err)\(",
    hollow=r"assert!\(true\)|assert_eq!\((\w+), \1\)",
    skip=r"#\[ignore\b|#\[cfg_attr\([^\]]{0,500}\bignore\b",
    comments=_NO_CHAR_TEXT,
    brackets="{}",
    own_files=False,
)
JAVA = _language(
    test=r"@(?:Test|ParameterizedTest|RepeatedTest|TestFactory|Property)\b(?:(?!@Test\b).){0,2000}?"
    r"\b(?:void|fun)\s+(?P<name>`[^`\n]+`|\w+)\s*\(",
    assertion=r"\b(?:assert|verify|expect|fail|should)\w*\s*\(|\bexpected\s*=",
    hollow=r"assertTrue\(true\)|assertFalse\(false\)|assertEquals\((\w+), \1\)|assertThat\(true\)\.isTrue\(\)",
    skip=r"@(?:Disabled|Ignore)\w*\b|\bassume(?:True|False|That)\s*\(",
    comments=_NO_CHAR_TEXT,
    brackets="{}",
)
PYTHON = _language(
    test=r"^[ \t]*(?:async )?def (?P<name>test\w*)",
    assertion=r"\bassert\b|\.assert\w+\(|\bpytest\.(?:raises|warns|fail)\(",
    hollow=r"assert (?:True|1)\s*$",
    skip=r"\bpytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b|\bunittest\.(?:skip\w*|expectedFailure)|\.skipTest\(",
    comments=r'""".*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<comment>#[^\n]*)',
)
LANGUAGES = {
    **dict.fromkeys((".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts"), SCRIPT),
    **dict.fromkeys((".java", ".kt", ".groovy", ".scala"), JAVA),
    ".go": GO,
    ".rs": RUST,
    ".py": PYTHON,
}


def language_of(path: str) -> Language | None:
    """The patterns for a file, None when it is of no known language or can hold no tests."""
    language = LANGUAGES.get(PurePosixPath(path).suffix)
    return language if language is None or not language.own_files or is_test(path) else None


def read_other(path: str, text: str, language: Language) -> list[Unit]:
    """The tests of a file, each up to the next one, and the file's skips under a unit of its own without a name."""
    code = without_comments(text, language.comments)
    found = list(language.test.finditer(code))
    plain = language.comments.sub(_blanked, code)
    limits = [*(match.start() for match in found[1:]), len(code)]
    ends = [_end(plain, match.end(), limit, language) for match, limit in zip(found, limits, strict=False)]
    skips = Unit(path, "", 1, collected=False, markers=tuple(_markers(code, language)))
    return [skips, *_units(path, code, language, list(zip(found, ends, strict=True)))]


def _units(path: str, code: str, language: Language, found: list[tuple[re.Match[str], int]]) -> Iterator[Unit]:
    seen: Counter[str] = Counter()
    for match, end in found:
        name = match["name"].strip("'\"`")
        seen[name] += 1
        body = code[match.start() : end]
        asserting = [line.strip() for line in body.splitlines() if language.assertion.search(line)]
        real = tuple(line for line in asserting if not language.hollow.search(line))
        rest = code[match.end() : end]
        yield Unit(
            path,
            name if seen[name] == 1 else f"{name} ({seen[name]})",
            _line(code, match.start("name")),
            collected=True,
            body="\n".join(filter(None, map(str.strip, rest.splitlines()))),
            assertions=real,
            hollow=len(asserting) - len(real),
            calls=tuple(_CALL.findall(rest)),
        )


def _markers(code: str, language: Language) -> Iterator[Marker]:
    for match in language.skip.finditer(code):
        line = _line(code, match.start())
        said = code.splitlines()[line - 1].strip()[:80]
        narrows = ".only" in match[0] or re.match(r"f(?:it|test|describe|context|specify)\(", match[0])
        sentence = f"Only this runs, the rest of the file does not: {said}" if narrows else f"Does not run: {said}"
        kind = FindingKind.SELECTION_NARROWED if narrows else FindingKind.TEST_SKIPPED
        yield Marker(match[0], sentence, line, kind)


def without_comments(text: str, comments: re.Pattern[str]) -> str:
    """The text with its comments blanked out; lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        return _blanked(match) if match["comment"] else match[0]

    return comments.sub(blank, text)


def _blanked(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _end(plain: str, start: int, limit: int, language: Language) -> int:
    """Where the brackets of a test close; the limit where they do not. `plain` has no texts and no comments."""
    if not language.brackets:
        return limit
    depth = int(language.inside)
    for match in re.compile(f"[{language.brackets}]").finditer(plain, start, limit):
        depth += 1 if match[0] == language.brackets[0] else -1
        if depth <= 0:
            return match.end()
    return limit


def _line(code: str, offset: int) -> int:
    return code.count("\n", 0, offset) + 1
