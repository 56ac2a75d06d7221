"""Tests as the analysis compares them, whatever language they are written in."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.integrity.findings import FindingKind

MAX_HELPER_DEPTH = 3
MAX_ASSERTIONS = 500
"""How many assertions of one test are told apart; helpers that call helpers can multiply them without end."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that keeps tests from running or from counting. Of one test, markers with equal `text` are the same."""

    text: str
    sentence: str
    line: int
    kind: FindingKind = FindingKind.TEST_SKIPPED


@dataclass(frozen=True, slots=True)
class Unit:
    """A test, or (not `collected`) a helper, fixture, class or module around tests.

    `assertions` are texts of those that can fail and that can be reached. `cases` is how often parameters repeat the
    test, 0 when that cannot be counted. `conditional`: it exists only under a condition.
    """

    path: str
    name: str
    line: int
    collected: bool
    body: str = ""
    assertions: tuple[str, ...] = ()
    hollow: int = 0
    calls: tuple[str, ...] = ()
    markers: tuple[Marker, ...] = ()
    cases: int = 1
    conditional: bool = False

    @property
    def simple_name(self) -> str:
        """The name without the classes around it."""
        return self.name.rpartition(".")[2]


def with_helpers(units: Iterable[Unit]) -> list[Unit]:
    """The units with the assertions of the helpers that they call, found by name among these units."""
    known = list(units)
    helpers = {unit.simple_name: unit for unit in known if not unit.collected and unit.body}
    seen: dict[tuple[str, int], tuple[str, ...]] = {}

    def behind(name: str, depth: int) -> tuple[str, ...]:
        if (name, depth) not in seen:
            seen[name, depth] = everything(helpers[name], depth)
        return seen[name, depth]

    def everything(unit: Unit, depth: int) -> tuple[str, ...]:
        found = list(unit.assertions)
        for name in unit.calls if depth else ():
            if name in helpers and name != unit.simple_name and len(found) < MAX_ASSERTIONS:
                found.extend(behind(name, depth - 1))
        return tuple(found[:MAX_ASSERTIONS])

    return [replace(unit, assertions=everything(unit, MAX_HELPER_DEPTH)) for unit in known]
