"""Reads what pytest and unittest print, leniently: the exit code is the verdict, this is only for the sentence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

NAMED = 10
MAX_NAME = 100
COUNTED = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PYTEST_END = re.compile(r"^(?:=+ )?(?P<counts>\d+ \w+(?:, \d+ \w+)*) in [\d.]+s\b.*$", re.MULTILINE)
_PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|error|skipped|xfailed|xpassed)s?\b")
_PYTEST_BAD = re.compile(r"^(?:FAILED|ERROR) (?P<name>\S.*?)(?: - .*)?$", re.MULTILINE)
_UNITTEST_RAN = re.compile(r"^Ran (?P<total>\d+) tests? in [\d.]+s$", re.MULTILINE)
_UNITTEST_END = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)(?: \((?P<counts>[^)]*)\))?$", re.MULTILINE)
_UNITTEST_COUNT = re.compile(r"(failures|errors|skipped|unexpected successes)=(\d+)")
_UNITTEST_BAD = re.compile(r"^(?:FAIL|ERROR): (?P<name>\S+)(?: \(.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tests there were and how many went wrong; `failing` are the names of those that did."""

    total: int
    failed: int
    skipped: int = 0
    failing: tuple[str, ...] = ()


def count_tests(output: str) -> Counted | None:
    """Read the last summary of pytest or unittest in `output`; None when there is none. Pure."""
    text = _COLOUR.sub("", output)
    return _pytest(text) or _unittest(text)


def sentence(exit_code: int, counted: Counted | None) -> str:
    """One sentence for people about a test run, such as `1 of 7 tests failed: test_login`. Pure."""
    if counted is None:
        return "The test command passed" if exit_code == 0 else f"The test command failed with exit code {exit_code}"
    if exit_code == 0:
        skipped = f", {counted.skipped} skipped" if counted.skipped else ""
        return f"{_tests(counted.total - counted.skipped - counted.failed)} passed{skipped}"
    if counted.failed == 0:
        return f"The test command failed with exit code {exit_code} although no test did ({_tests(counted.total)})"
    names = ", ".join(counted.failing[:NAMED])
    more = f" and {len(counted.failing) - NAMED} more" if len(counted.failing) > NAMED else ""
    return f"{counted.failed} of {_tests(counted.total)} failed{f': {names}' if names else ''}{more}"


def _pytest(text: str) -> Counted | None:
    ends = [end for end in _PYTEST_END.finditer(text) if _PYTEST_COUNT.search(end["counts"])]
    if not ends:
        return None
    found = {name: int(number) for number, name in _PYTEST_COUNT.findall(ends[-1]["counts"])}
    failed = found.get("failed", 0) + found.get("error", 0)
    return Counted(sum(found.values()), failed, found.get("skipped", 0), _names(_PYTEST_BAD, text))


def _unittest(text: str) -> Counted | None:
    ran = list(_UNITTEST_RAN.finditer(text))
    if not ran:
        return None
    end = _UNITTEST_END.search(text, ran[-1].end())
    found: Mapping[str, str] = dict(_UNITTEST_COUNT.findall(end["counts"] or "")) if end else {}
    failed = sum(int(found.get(name, 0)) for name in ("failures", "errors", "unexpected successes"))
    return Counted(int(ran[-1]["total"]), failed, int(found.get("skipped", 0)), _names(_UNITTEST_BAD, text))


def _names(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The last part of each name, once, in the order printed. A branch chooses these names, so their length is cut."""
    names = (match["name"].rpartition("::")[2][:MAX_NAME] for match in pattern.finditer(text))
    return tuple(dict.fromkeys(names))


def _tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"
