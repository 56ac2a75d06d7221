"""Reads what test runners say, leniently: the exit code is the verdict, this is only for the sentence.

That is what pytest and unittest print, or a JUnit report.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from pipeline.clients.checkout import UnreadableFile
from pipeline.clients.logs import readable
from pipeline.model import TestRun

NAMED = 10
MAX_NAME = 100
MAX_FULL_NAME = 200
MAX_NAMES = 1000
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


def count_junit(root: Element) -> Counted:
    """Read a JUnit report; tests are named as `tests.test_shop::test_login`. Pure. Raises `UnreadableFile`."""
    cases = list(root.iter("testcase"))
    if not cases:
        raise UnreadableFile("it names no tests")
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return Counted(len(cases), len(bad), skipped, tuple(dict.fromkeys(map(_full_name, bad)))[:MAX_NAMES])


def of_both(first: TestRun, second: TestRun) -> TestRun:
    """What is said about a red run and its repetition: the second one's verdict, and that there was a first. Pure."""
    if second.passed:
        return replace(second, sentence=f"{second.sentence}: green on the second run (first: {first.sentence})")
    return replace(second, sentence=f"{second.sentence}: red on the second run, too (first: {first.sentence})")


def sentence(exit_code: int, counted: Counted | None) -> str:
    """One sentence for people about a test run, such as `1 of 7 tests failed: test_login`. Pure."""
    if counted is None:
        return "The test command passed" if exit_code == 0 else f"The test command failed with exit code {exit_code}"
    if exit_code == 0:
        skipped = f", {counted.skipped} skipped" if counted.skipped else ""
        failed = f", {counted.failed} failed although the exit code is 0" if counted.failed else ""
        return f"{_tests(counted.total - counted.skipped - counted.failed)} passed{skipped}{failed}"
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


def _full_name(case: Element) -> str:
    """Class and name of a test on one line. A branch chooses them, so their length is cut."""
    name = "::".join(filter(None, (case.get("classname"), case.get("name")))) or "a test without a name"
    return " ".join(readable(name).split())[:MAX_FULL_NAME]


def _tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"
