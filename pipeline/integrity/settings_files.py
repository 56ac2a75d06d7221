"""Compares the settings of test runners, coverage and linters before and after a change."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.integrity import settings_rules as rules
from pipeline.integrity.changes import Change
from pipeline.integrity.findings import Finding, FindingKind
from pipeline.integrity.paths import is_artifact, is_sample
from pipeline.integrity.settings_rules import Compare, Rule
from pipeline.integrity.settings_text import Table, UnreadableSettings, parse

_FILES = re.compile(
    r"pyproject\.toml|setup\.cfg|tox\.(?:ini|toml)|\.?pytest\.(?:ini|toml)|\.coveragerc(?:\.toml)?|\.?mypy\.ini|\.?ruff\.toml"
    r"|\.flake8|\.?pylintrc(?:\.toml)?|\.importlinter|pyrightconfig\.json|\.bandit|package\.json|\.(?:nyc|c8)rc(?:\.json|\.ya?ml)?"
    r"|(?:jest|vitest|vite|karma\.conf|playwright|cypress|nyc)(?:\.config)?\.(?:[cm]?[jt]s|json)|\.?codecov\.ya?ml"
    r"|\.eslintrc(?:\.json|\.ya?ml)?|eslint\.config\.[cm]?[jt]s|biome\.jsonc?|tsconfig(?:\.\w+)?\.json|\.golangci\.ya?ml|clippy\.toml"
)


def _rule(files: str, name: str, weaker: Compare, kind: FindingKind) -> Rule:
    return Rule(re.compile(files), re.compile(rf"(?:^|.*[.:\]])(?:{name})$", re.IGNORECASE), weaker, kind)


_ANY = r".*"
_PYTHON_TESTS = r"pyproject\.toml|setup\.cfg|tox\.ini|.*pytest\..*"
_COVERAGE = r"pyproject\.toml|setup\.cfg|tox\.ini|\.coveragerc.*"
_LINT = r"pyproject\.toml|setup\.cfg|tox\.ini|.*ruff\.toml|\.flake8|.*pylintrc.*|\.bandit|pyrightconfig\.json"
_MYPY = r"pyproject\.toml|setup\.cfg|tox\.ini|.*mypy\.ini"
_SCRIPT_TESTS = r"package\.json|(?:jest|vitest|vite|karma|playwright|cypress|nyc).*|\.(?:nyc|c8)rc.*"
_C, _X, _L, _S = (
    FindingKind.COVERAGE_LOWERED,
    FindingKind.COVERAGE_EXCLUDED,
    FindingKind.CHECK_LOWERED,
    FindingKind.SELECTION_NARROWED,
)

RULES = (
    _rule(_ANY, r"fail[_-]under", rules.lower, _C),
    _rule(
        _SCRIPT_TESTS,
        r"(?:coverageThreshold|thresholds?|script|nyc|c8)\..*(?:branches|functions|lines|statements)",
        rules.lower,
        _C,
    ),
    _rule(r"\.(?:nyc|c8)rc.*", r"branches|functions|lines|statements", rules.lower, _C),
    _rule(_SCRIPT_TESTS, r"script\.(?:branches|functions|lines|statements)", rules.lower, _C),
    _rule(_SCRIPT_TESTS, r"check-?coverage", rules.off, _C),
    _rule(r".*codecov.*", r"coverage\.status\..*target", rules.lower, _C),
    _rule(r".*codecov.*", r"coverage\.status\..*threshold", rules.higher, _C),
    _rule(r".*codecov.*", r"coverage\.status\..*informational", rules.on, _C),
    _rule(r".*codecov.*", r"ignore", rules.more, _X),
    _rule(_COVERAGE, r"(?:run|report)\.(?:omit|exclude_lines|exclude_also|partial_branches)", rules.more, _X),
    _rule(_COVERAGE, r"(?:run|report)\.(?:include|source|source_pkgs)", rules.chosen, _X),
    _rule(_COVERAGE, r"run\.branch", rules.off, _C),
    _rule(_SCRIPT_TESTS, r"coveragePathIgnorePatterns|coverage\.exclude", rules.more, _X),
    _rule(_SCRIPT_TESTS, r"testPathIgnorePatterns|modulePathIgnorePatterns|test\.exclude", rules.more, _S),
    _rule(_SCRIPT_TESTS, r"testMatch|testRegex|roots|test\.include|projects", rules.chosen, _S),
    _rule(_SCRIPT_TESTS, r"passWithNoTests", rules.on, _S),
    _rule(_PYTHON_TESTS, r"addopts", rules.options, _S),
    _rule(_PYTHON_TESTS, r"testpaths|python_(?:files|classes|functions)", rules.chosen, _S),
    _rule(_PYTHON_TESTS, r"norecursedirs|collect_ignore(?:_glob)?", rules.more, _S),
    _rule(_PYTHON_TESTS, r"xfail_strict|strict", rules.off, _L),
    _rule(_PYTHON_TESTS, r"filterwarnings", rules.errors_fewer, _L),
    _rule(r"tox\..*", r"env_?list", rules.fewer, _S),
    _rule(r"tox\..*", r"ignore_(?:outcome|errors)", rules.on, FindingKind.FAILURE_IGNORED),
    _rule(_LINT, r"(?:extend[_-])?select|enable|extend[_-]safe[_-]fixes", rules.fewer, _L),
    _rule(
        _LINT,
        r"(?:extend[_-])?ignore|(?:extend[_-])?per[_-]file[_-]ignores(?:\..*)?|(?:extend[_-])?exclude|disable|skips|exclude_dirs",
        rules.more,
        _L,
    ),
    _rule(_LINT, r"(?:pyright|basedpyright|^)\.?typeCheckingMode", rules.changed, _L),
    _rule(_LINT, r"report[A-Z]\w+", rules.milder, _L),
    _rule(
        _MYPY,
        r"strict|strict_\w+|(?:dis)allow_(?:untyped|any|subclassing|incomplete)\w*|check_untyped_defs|warn_\w+|no_implicit_\w+|extra_checks",
        rules.off,
        _L,
    ),
    _rule(
        _MYPY, r"ignore_errors|ignore_missing_imports|implicit_\w+|allow_(?:redefinition|untyped_globals)", rules.on, _L
    ),
    _rule(_MYPY, r"disable_error_code", rules.more, _L),
    _rule(_MYPY, r"enable_error_code|mypy\.(?:packages|files|modules)", rules.fewer, _L),
    _rule(r".*mypy\.ini", r"exclude", rules.more, _L),
    _rule(_MYPY, r"follow_imports", rules.changed, _L),
    _rule(r"pyproject\.toml|setup\.cfg|\.importlinter", r"importlinter[.:].*", rules.changed, _L),
    _rule(
        r"tsconfig.*",
        r"compilerOptions\.(?:strict\w*|no(?:Implicit|Unused|Unchecked|Fallthrough|PropertyAccess)\w+)",
        rules.off,
        _L,
    ),
    _rule(r"tsconfig.*", r"skipLibCheck", rules.on, _L),
    _rule(r"tsconfig.*", r"exclude", rules.more, _L),
    _rule(r"\.eslintrc.*|package\.json|biome.*", r"rules\..*", rules.milder, _L),
    _rule(r"\.eslintrc.*|package\.json", r"extends", rules.fewer, _L),
    _rule(r"\.eslintrc.*|biome.*|package\.json", r"ignorePatterns|files\.ignore", rules.more, _L),
    _rule(r"eslint\.config\..*", r"script\..*", rules.milder, _L),
    _rule(r"biome.*", r"linter\.enabled", rules.off, _L),
    _rule(r"\.golangci.*", r"linters\.enable", rules.fewer, _L),
    _rule(r"\.golangci.*", r"linters\.disable|linters\.exclusions\.paths|issues\.exclude.*", rules.more, _L),
    _rule(
        r"package\.json",
        r"scripts\.(?:pre|post)?(?:test|lint|check|type-?check|ci|coverage|verify|validate)(?::.*)?",
        rules.changed,
        _L,
    ),
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting that a rule is about, before and after."""

    change: Change
    rule: Rule
    name: str
    old: object
    new: object


def compare(changes: Sequence[Change]) -> Iterator[Finding]:
    """Findings about all settings files of a change. A setting that moved to another file is no finding."""
    settings: list[_Setting] = []
    for change in changes:
        if any(map(_is_settings, change.paths)):
            try:
                settings.extend(_settings(change))
            except UnreadableSettings as error:
                sentence = f"What this file says about checks cannot be compared: {error}."
                yield Finding(change.path, 1, FindingKind.UNREADABLE, sentence)
    for setting in settings:
        weaker = setting.rule.weaker(setting.old, setting.new)
        if weaker is not None and not _moved(setting, settings):
            yield Finding(setting.change.path, _line(setting), setting.rule.kind, f"{_short(setting.name)} {weaker}.")


def _is_settings(path: str) -> bool:
    return bool(_FILES.fullmatch(PurePosixPath(path).name)) and not is_sample(path) and not is_artifact(path)


def _settings(change: Change) -> Iterator[_Setting]:
    old, new = _table(change.old_path, change.old_text), _table(change.new_path, change.new_text)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) == new.get(name):
            continue
        rule = _rule_for(PurePosixPath(change.path).name, name)
        if rule is not None:
            yield _Setting(change, rule, name, old.get(name), new.get(name))


def _table(path: str | None, text: str) -> Table:
    return parse(path, text) if path is not None and text.strip() else {}


def _rule_for(file: str, name: str) -> Rule | None:
    return next((rule for rule in RULES if rule.files.fullmatch(file) and rule.name.match(name)), None)


def _moved(setting: _Setting, settings: Sequence[_Setting]) -> bool:
    """Whether a setting only changed its place: gone here and added elsewhere no weaker, or the other way round."""
    twins = [other for other in settings if other.rule.kind is setting.rule.kind and _last(other) == _last(setting)]
    if setting.new is None:
        return any(other.old is None and setting.rule.weaker(setting.old, other.new) is None for other in twins)
    if setting.old is None:
        return any(other.new is None and setting.rule.weaker(other.old, setting.new) is None for other in twins)
    return False


def _last(setting: _Setting) -> str:
    return re.split(r"[.:\]]", setting.name)[-1].casefold().replace("-", "_")


def _short(name: str) -> str:
    return name.removeprefix("tool.").removeprefix("script.")


def _line(setting: _Setting) -> int:
    """Where the setting stands: the line of what was lost or gained, else that of its name."""
    values = [
        f"{value:g}" if isinstance(value, float) else str(value)
        for value in (setting.new, setting.old)
        if isinstance(value, (str, bool, float))
    ]
    last = re.split(r"[.\]]", setting.name)[-1]
    named = [line for line in (*setting.change.added, *setting.change.removed) if last in line.text]
    exact = next((line for line in named for value in values if value.casefold() in line.text.casefold()), None)
    if exact is not None:
        return exact.number
    return named[0].number if named else setting.change.first_line
