"""Compares the tests before and after a change: what is gone, skipped, or asserts less, and what only moved."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from pipeline.integrity.findings import Finding, FindingKind
from pipeline.integrity.suite import Unit

SIMILAR = 0.6
"""How alike two test bodies must be (0 to 1) for one to be the other, renamed and edited."""
MAX_PAIRS = 1000
"""How many pairs of bodies are compared at most; with more a renamed and edited test counts as removed."""
MAX_WORDS = 300
"""How much of each body is compared."""
UNCOUNTED = 10_000
"""How many tests a parametrised one can stand for whose parameters cannot be counted."""


_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(slots=True)
class Matched:
    """Old tests with what became of them, and what is left on both sides."""

    pairs: list[tuple[Unit, Unit]] = field(default_factory=list)
    gone: list[Unit] = field(default_factory=list)
    fresh: list[Unit] = field(default_factory=list)


def compare(old: Sequence[Unit], new: Sequence[Unit], renamed: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about tests. `renamed` says what each old path is called now."""
    matched = _match(old, new, renamed)
    spare = _gained(matched)
    yield from _removed(matched, spare)
    for before, after in matched.pairs:
        yield from _weakened(before, after, spare)
    for unit in matched.fresh:
        yield from _new_markers((), unit)


def _match(old: Sequence[Unit], new: Sequence[Unit], renamed: Mapping[str, str]) -> Matched:
    """The same place first, then the same name elsewhere, the same body, a similar body."""
    result = Matched(gone=list(old), fresh=list(new))
    _pair(result, lambda unit: (renamed.get(unit.path, unit.path), unit.name), lambda unit: (unit.path, unit.name))
    _pair(result, _name_and_file(renamed), _name_and_file({}), only_tests=True)
    _pair(result, _name, _name, only_tests=True)
    _pair(result, lambda unit: unit.body, lambda unit: unit.body, only_tests=True)
    _pair_similar(result)
    return result


def _name(unit: Unit) -> str:
    return unit.simple_name


def _name_and_file(renamed: Mapping[str, str]) -> Callable[[Unit], tuple[str, str]]:
    return lambda unit: (renamed.get(unit.path, unit.path), unit.simple_name)


def _pair(
    result: Matched,
    old_key: Callable[[Unit], object],
    new_key: Callable[[Unit], object],
    *,
    only_tests: bool = False,
) -> None:
    """Pair what has the same key and is collected no less than before; each unit once."""
    waiting: dict[object, list[Unit]] = {}
    for unit in result.fresh:
        waiting.setdefault(new_key(unit), []).append(unit)
    gone = []
    for before in result.gone:
        candidates = waiting.get(old_key(before), []) if before.collected or not only_tests else []
        after = next((unit for unit in candidates if unit.collected or not before.collected), None)
        if after is None:
            gone.append(before)
        else:
            candidates.remove(after)
            result.pairs.append((before, after))
    result.gone, taken = gone, {id(after) for _, after in result.pairs}
    result.fresh = [unit for unit in result.fresh if id(unit) not in taken]


def _pair_similar(result: Matched) -> None:
    gone = [unit for unit in result.gone if unit.collected and unit.body]
    fresh = [unit for unit in result.fresh if unit.collected and unit.cases == 1]
    if len(gone) * len(fresh) > MAX_PAIRS:
        return
    scored = (
        (_likeness(before, after), number, before, after) for number, before in enumerate(gone) for after in fresh
    )
    used: set[int] = set()
    for likeness, _, before, after in sorted(scored, key=lambda row: (-row[0], row[1])):
        if likeness >= SIMILAR and not used & {id(before), id(after)}:
            used |= {id(before), id(after)}
            result.pairs.append((before, after))
    result.gone = [unit for unit in result.gone if id(unit) not in used]
    result.fresh = [unit for unit in result.fresh if id(unit) not in used]


def _likeness(before: Unit, after: Unit) -> float:
    if len(after.assertions) < len(before.assertions):
        return 0.0
    matcher = SequenceMatcher(None, _words(before), _words(after), autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= SIMILAR and matcher.quick_ratio() >= SIMILAR else 0.0


def _words(unit: Unit) -> list[str]:
    return _WORD.findall(unit.body)[:MAX_WORDS]


def _gained(matched: Matched) -> Counter[str]:
    """Assertions that tests have now and had not before: those that another test lost may have moved there."""
    spare: Counter[str] = Counter()
    for before, after in matched.pairs:
        if after.collected and not after.markers:
            spare += Counter(after.assertions) - Counter(before.assertions)
    for unit in matched.fresh:
        if unit.collected and not unit.markers:
            spare += Counter(unit.assertions)
    return spare


# --- removed ---------------------------------------------------------------------------------------------------------


def _removed(matched: Matched, spare: Counter[str]) -> Iterator[Finding]:
    room = _room(matched)
    for unit in matched.gone:
        if not unit.collected or _moved(unit, spare) or _merged(unit, room):
            continue
        lost = f"{len(unit.assertions)} assertion{'' if len(unit.assertions) == 1 else 's'}"
        yield Finding(
            unit.path,
            unit.line,
            FindingKind.TEST_REMOVED,
            f"{unit.name} is gone or not collected any more, with {lost}.",
        )


def _moved(unit: Unit, spare: Counter[str]) -> bool:
    """Whether other tests have gained all of a removed test's assertions; uses them up."""
    wanted = Counter(unit.assertions)
    if not wanted or wanted - spare:
        return False
    spare.subtract(wanted)
    return True


def _room(matched: Matched) -> list[tuple[Unit, int]]:
    """Parametrised tests with the number of cases that they have gained."""
    grown = [(after, _gain(before.cases, after.cases)) for before, after in matched.pairs]
    return [
        (unit, cases) for unit, cases in (*grown, *((unit, _gain(1, unit.cases)) for unit in matched.fresh)) if cases
    ]


def _gain(before: int, after: int) -> int:
    if after == 0:
        return 0 if before == 0 else UNCOUNTED
    return after - (0 if before == 1 else before) if after > before > 0 else 0


def _merged(unit: Unit, room: list[tuple[Unit, int]]) -> bool:
    """Whether a parametrised test of the same file that calls the same things has room for a removed one."""
    for number, (target, cases) in enumerate(room):
        fits = target.path == unit.path and cases >= max(unit.cases, 1) and set(unit.calls) <= set(target.calls)
        if fits and target.collected and target.assertions and not target.markers:
            room[number] = (target, cases - max(unit.cases, 1))
            return True
    return False


# --- weakened --------------------------------------------------------------------------------------------------------


def _weakened(before: Unit, after: Unit, spare: Counter[str]) -> Iterator[Finding]:
    yield from _fewer_assertions(before, after, spare)
    yield from _new_markers([marker.text for marker in before.markers], after)
    if before.collected and 0 < after.cases < before.cases:
        sentence = f"{after.name} runs with {after.cases} sets of parameters instead of {before.cases}."
        yield Finding(after.path, after.line, FindingKind.TEST_REMOVED, sentence)
    if before.collected and after.conditional and not before.conditional:
        sentence = f"{after.name} exists only under a condition now."
        yield Finding(after.path, after.line, FindingKind.TEST_SKIPPED, sentence)


def _fewer_assertions(before: Unit, after: Unit, spare: Counter[str]) -> Iterator[Finding]:
    missing = len(before.assertions) - len(after.assertions)
    if missing <= 0:
        return
    moved = (Counter(before.assertions) - Counter(after.assertions)) & spare
    spare.subtract(moved)
    if moved.total() >= missing:
        return
    count = f"{len(after.assertions)} assertion{'' if len(after.assertions) == 1 else 's'}"
    hollow = ", besides ones that always hold" if after.hollow > before.hollow else ""
    sentence = f"{after.name} has {count} that can fail instead of {len(before.assertions)}{hollow}."
    yield Finding(after.path, after.line, FindingKind.ASSERTION_REMOVED, sentence)


def _new_markers(before: Iterable[str], after: Unit) -> Iterator[Finding]:
    known = Counter(before)
    for marker in after.markers:
        if known[marker.text] > 0:
            known[marker.text] -= 1
        else:
            yield Finding(after.path, marker.line, marker.kind, marker.sentence)
