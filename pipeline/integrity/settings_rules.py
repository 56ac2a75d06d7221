"""What it means for a setting of a checking tool to become weaker: a table of names and comparisons."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.integrity.findings import FindingKind

Compare = Callable[[object, object], str | None]
"""Old and new value (None: absent) -> how the setting became weaker, as the end of a sentence, or None."""

_NARROWING = ("-k", "--ignore", "--ignore-glob", "--deselect", "--no-cov", "--noconftest", "--collect-only", "--co")
_STRICT = ("--strict", "--strict-markers", "--strict-config", "--doctest-modules", "--cov", "--cov-branch")
_SEVERITY = {
    "off": 0,
    "0": 0,
    "none": 0,
    "false": 0,
    "ignore": 0,
    "info": 1,
    "information": 1,
    "warn": 1,
    "1": 1,
    "0.0": 0,
    "1.0": 1,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Settings whose file and dotted name match, compared in one way."""

    files: re.Pattern[str]
    name: re.Pattern[str]
    weaker: Compare
    kind: FindingKind


def lower(old: object, new: object) -> str | None:
    """A minimum that fell or is gone."""
    before, after = _number(old), _number(new)
    if before is None or (after is not None and after >= before):
        return None
    return f"is {_said(new)} instead of {_said(old)}"


def higher(old: object, new: object) -> str | None:
    """A tolerance that grew."""
    before, after = _number(old) or 0.0, _number(new)
    return f"is {_said(new)} instead of {_said(old)}" if after is not None and after > before else None


def off(old: object, new: object) -> str | None:
    """A switch that is on by being set, and is not any more."""
    if _is_off(new) and not (old is None and new is None) and not _is_off(old, absent=False):
        return "is switched off"
    return "is not set any more" if new is None and _is_on(old) else None


def on(old: object, new: object) -> str | None:
    """A switch that excuses, and is on now."""
    return "is switched on" if _is_on(new) and not _is_on(old) else None


def fewer(old: object, new: object) -> str | None:
    """A list of what is checked that lost something; a wider entry stands for a narrower one."""
    after = _items(new)
    lost = [item for item in _items(old) if not _within(item, after)]
    return f"has lost {', '.join(lost[:5])}" if lost else None


def more(old: object, new: object) -> str | None:
    """A list of what is left out that gained something."""
    before = _items(old)
    gained = [item for item in _items(new) if not _within(item, before)]
    return f"has gained {', '.join(gained[:5])}" if gained else None


def chosen(old: object, new: object) -> str | None:
    """A choice among tests: one more place to look is fine, one less or a first restriction is not."""
    if not _items(old):
        return f"is restricted to {', '.join(_items(new)[:5])}" if _items(new) else None
    return fewer(old, new) if new is not None else None


def changed(old: object, new: object) -> str | None:
    """A rule that is not what it was."""
    return None if old is None or old == new else "is gone" if new is None else "is changed"


def milder(old: object, new: object) -> str | None:
    """A severity that fell; one that is only now given counts when it is off."""
    before, after = _severity(old), _severity(new)
    if new is None:
        return "is not set any more" if old is not None and before > 0 else None
    return f"is {_said(new)} instead of {_said(old)}" if after < (before if old is not None else 1) else None


def errors_fewer(old: object, new: object) -> str | None:
    """Warnings that were errors and are not any more."""
    lost = [item for item in _lines(old) if item.startswith("error") and item not in _lines(new)]
    return f"has lost {', '.join(lost[:5])}" if lost else None


def options(old: object, new: object) -> str | None:
    """Command line options of the test runner."""
    before, after = _tokens(old), _tokens(new)
    gained = [token for token in _narrowing(after) if token not in _narrowing(before)]
    if gained:
        return f"leaves tests out: {' '.join(gained)}"
    lost = [token for token in before if token.partition("=")[0] in _STRICT and token not in after]
    return f"has lost {' '.join(lost)}" if lost else None


def _narrowing(words: list[str]) -> list[str]:
    """The options that leave tests or plugins out, each with its value."""
    found = []
    for option, value in zip(words, [*words[1:], ""], strict=False):
        excluding = (option, value[:3]) in (("-m", "not"), ("-p", "no:"))
        if excluding or option.startswith(("-k", "-mnot", "-pno:")) or option.partition("=")[0] in _NARROWING:
            found.append(option if "=" in option else f"{option} {value}".strip())
    return found


# --- values ----------------------------------------------------------------------------------------------------------


def _tokens(value: object) -> list[str]:
    if isinstance(value, tuple):
        return list(map(str, value))
    try:
        return shlex.split(str(value or ""))
    except ValueError:
        return str(value or "").split()


def _number(value: object) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(str(value).strip().rstrip("%"))
    except ValueError:
        return None


def _said(value: object) -> str:
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _is_on(value: object) -> bool:
    return str(value).strip().casefold() in ("true", "yes", "on", "1", "1.0")


def _is_off(value: object, *, absent: bool = False) -> bool:
    return absent if value is None else str(value).strip().casefold() in ("false", "no", "off", "0", "0.0", "none")


def _severity(value: object) -> int:
    first = value[0] if isinstance(value, tuple) and value else value
    return _SEVERITY.get(str(first).strip().casefold(), 2)


def _items(value: object) -> list[str]:
    if isinstance(value, tuple):
        return list(map(str, value))
    return [item for item in re.split(r"[,\s]+", str(value or "")) if item and not item.startswith("#")]


def _lines(value: object) -> list[str]:
    return (
        list(map(str, value)) if isinstance(value, tuple) else [line.strip() for line in str(value or "").split("\n")]
    )


def _within(item: str, others: list[str]) -> bool:
    """Whether a list has an entry or, for codes such as E501, a wider one such as E or ALL."""
    if item in others or "ALL" in others:
        return True
    return bool(re.fullmatch(r"[A-Z]+\d*", item)) and any(
        re.fullmatch(r"[A-Z]+\d*", other) and item.startswith(other) for other in others
    )
