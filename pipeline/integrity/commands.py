"""Reads files that run checks (CI, Makefile, tox, scripts): what stops failing, stops running, or runs less."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pipeline.integrity.changes import Change, Line
from pipeline.integrity.findings import Finding, FindingKind
from pipeline.integrity.paths import CI, is_artifact, is_sample

_NAMES = re.compile(
    r"(?:GNU)?[Mm]akefile|.*\.mk|[Jj]ustfile|noxfile\.py|tox\.ini|setup\.cfg|pyproject\.toml|package\.json|Taskfile\.ya?ml|Rakefile"
    r"|tasks\.py|dodo\.py|(?:.*[._-])?(?:ci|test|tests|check|checks|lint|coverage|verify)(?:[._-].*)?\.(?:sh|bash)"
)
_IGNORED = re.compile(
    r"\|\|\s*(?:true|:|echo\b|exit 0)|;\s*(?:true|exit 0)\s*(?:$|[\"'#])|\bset \+e\b|continue-on-error:\s*['\"]?true"
    r"|allow_failure:\s*true|failure:\s*ignore|\bcatchError\b|returnStatus:\s*true|continueOnError:\s*true"
    r"|^\s*(?:-\s+)?if:\s*(?:\$\{\{\s*)?false|--exit-zero\b|--passWithNoTests\b|ignore_outcome\s*=\s*true|warn_only\s*:\s*true"
    r"|^\t(?:@?-@?)(?=\w|\$)|\bsuccess_codes\s*=\s*\[|^\s*exit 0\s*$|--suppress-no-test-exit-code\b",
    re.IGNORECASE,
)
_NARROWING = re.compile(
    r"(?<![\w-])(?:--ignore(?:-glob)?(?=[= ])|--deselect\b|-k(?=[ ='\"])|-m[ =]?[\"']?not\b|--no-cov\b"
    r"|--testPathIgnorePatterns\b|--skip(?=[ =])|-short\b|-Dmaven\.test\.skip|-DskipTests|-x test\b)"
)
_TOOL = re.compile(
    r"(?<![\w.])(?<!\w-)(?:pytest|unittest|tox|nox|ruff|flake8|pylint|mypy|pyright|bandit|lint-imports|pre-commit|coverage"
    r"|jest|vitest|mocha|playwright|cypress|eslint|tsc|biome|go (?:test|vet)|golangci-lint|cargo (?:test|clippy|fmt)"
    r"|mvn|gradle|\./gradlew|rspec|phpunit|make (?:test|check|lint)|npm (?:test|run \w+)|yarn \w+|pnpm \w+)(?![\w.-])"
)
_RUNNER = re.compile(
    r"(?<![\w.])(?<!\w-)(?:pytest|unittest|jest|vitest|go test|cargo test|mvn|gradle|\./gradlew)(?![\w-])"
)
_READ_AS_SETTINGS = ("pyproject.toml", "setup.cfg", "package.json")
_MINIMUM = re.compile(r"--(?:cov-)?fail-under[= ]+(\d+(?:\.\d+)?)")


def compare(changes: Sequence[Change]) -> Iterator[Finding]:
    """Findings about all files of a change that run checks."""
    for change in changes:
        if any(map(_runs_checks, change.paths)):
            yield from _ignored_failures(change)
            yield from _narrowed(change)
            yield from _dropped_tools(change)
            yield from _lower_minimum(change)


def _runs_checks(path: str) -> bool:
    if is_artifact(path) or is_sample(path):
        return False
    return bool(_NAMES.fullmatch(PurePosixPath(path).name)) or CI.match_file(path)


def _fresh(change: Change, pattern: re.Pattern[str]) -> Iterator[Line]:
    """Added lines on which a pattern matches what it matched on no removed line."""
    before = Counter(match[0].strip() for line in change.removed for match in pattern.finditer(line.text))
    for line in change.added:
        if line.text.lstrip().startswith("#"):
            continue
        for match in pattern.finditer(line.text):
            if before[match[0].strip()] > 0:
                before[match[0].strip()] -= 1
            else:
                yield line
                break


def _ignored_failures(change: Change) -> Iterator[Finding]:
    for line in _fresh(change, _IGNORED):
        sentence = f"A failure does not count here any more: {line.text.strip()[:120]}"
        yield Finding(change.path, line.number, FindingKind.FAILURE_IGNORED, sentence)


def _narrowed(change: Change) -> Iterator[Finding]:
    for line in _fresh(change, _NARROWING):
        if _RUNNER.search(line.text):
            sentence = f"The command runs fewer tests: {line.text.strip()[:120]}"
            yield Finding(change.path, line.number, FindingKind.SELECTION_NARROWED, sentence)


def _dropped_tools(change: Change) -> Iterator[Finding]:
    """Tools that the file ran before and does not run any more; not of files that are gone: those are named whole."""
    if not change.new_path or PurePosixPath(change.path).name in _READ_AS_SETTINGS:
        return
    before, after = (_tools(text) for text in (change.old_text, change.new_text))
    for tool in sorted((before - after).keys()):
        line = change.line_with(tool)
        yield Finding(change.path, line, FindingKind.CHECK_LOWERED, f"`{tool}` runs in fewer places than before.")


def _tools(text: str) -> Counter[str]:
    """How often each tool is run; lines that are comments do not run anything."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))
    return Counter(match[0] for line in lines for match in _TOOL.finditer(line))


def _lower_minimum(change: Change) -> Iterator[Finding]:
    before = [float(number) for number in _MINIMUM.findall(change.old_text)]
    after = [float(number) for number in _MINIMUM.findall(change.new_text)]
    if before and min(after, default=0) < min(before):
        now = f"{min(after):g}" if after else "not at all"
        sentence = f"The least coverage that passes is {now} instead of {min(before):g}."
        yield Finding(change.path, change.line_with("fail-under"), FindingKind.COVERAGE_LOWERED, sentence)
