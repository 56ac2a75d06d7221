"""Scenario files: which item is changed how, and how each role behaves on each of its visits.

```toml
[[items]]
title = "gift"                        # part of the work item's title; without it: every other item

[items.changes.feature.files]         # whole files; changes are made in the order in which they stand here
"shop/gift.py" = "..."

[[items.changes.feature.replacements]]
path = "shop/pricing.py"
old = "..."
new = "..."
optional = false                      # true: skipped when the file is not there

[items.resolution]                    # how a file looks once this item's change meets another one's in it
"shop/pricing.py" = "..."

[items.behaviours]                    # by visit, the last one repeats; a role that is not named does "ok"
developer = ["ok", { does = "ok", change = "fix", seconds = 2.0 }]
reviewer = ["request_changes", "ok"]
analyst = [{ does = "question", question = "Which currency?" }]
```
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROLES = ("analyst", "architect", "developer", "reviewer", "tester")

ANY_ROLE = frozenset(
    {"ok", "missing_files", "hang", "hang_hard", "silent", "crash", "uncommitted", "question", "noise"}
)
ONLY = {
    "architect": frozenset({"garbage_front_matter"}),
    "developer": frozenset({"red_test"}),
    "reviewer": frozenset({"request_changes", "garbage_front_matter", "wrong_commit"}),
    "tester": frozenset({"fail_report", "garbage_front_matter", "wrong_commit"}),
}


class ScenarioError(Exception):
    """The scenario file is wrong, or does not fit the repository that it is played on."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """One piece of text in one file that becomes another."""

    path: str
    old: str
    new: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What the developer commits at once."""

    name: str
    files: Mapping[str, str]
    replacements: tuple[Replacement, ...]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a role does on one visit. `change` names the last change that a developer makes, the first when empty."""

    does: str = "ok"
    change: str = ""
    seconds: float = 0.0
    question: str = "Which of the two readings of the issue is meant?"


@dataclass(frozen=True, slots=True)
class Item:
    """The script for the work items whose title contains `title`."""

    title: str
    changes: tuple[Change, ...]
    resolution: Mapping[str, str]
    behaviours: Mapping[str, tuple[Behaviour, ...]] = field(default_factory=dict)

    def behaviour(self, role: str, visit: int) -> Behaviour:
        """What `role` does on its `visit`, counted from 1."""
        script = self.behaviours.get(role, (Behaviour(),))
        return script[min(max(visit, 1), len(script)) - 1]

    def changes_up_to(self, name: str) -> tuple[Change, ...]:
        """The changes that must be on the branch once `name` is made; the first alone for an empty name."""
        names = [change.name for change in self.changes]
        return self.changes[: names.index(name) + 1] if name else self.changes[:1]


def load(path: Path) -> tuple[Item, ...]:
    """The items of a scenario file. Raises `ScenarioError` that names what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        items = tuple(_item(entry) for entry in raw["items"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(f"{path.name} cannot be read: {type(error).__name__}: {error}.") from error
    for item in items:
        _check(path.name, item)
    return items


def choose(items: tuple[Item, ...], title: str) -> Item:
    """The first item whose `title` is part of a work item's title, without regard to case."""
    for item in items:
        if item.title.casefold() in title.casefold():
            return item
    raise ScenarioError(f"The scenario has no item for the title {title!r}, and none without a title for all others.")


def _item(raw: Mapping[str, object]) -> Item:
    known = dict(raw)
    changes = _table(known.pop("changes", {}))
    behaviours = _table(known.pop("behaviours", {}))
    item = Item(
        title=str(known.pop("title", "")),
        changes=tuple(_change(name, _table(change)) for name, change in changes.items()),
        resolution=_texts(known.pop("resolution", {})),
        behaviours={role: tuple(map(_behaviour, _list(script))) for role, script in behaviours.items()},
    )
    if known:
        raise ValueError(f"unknown keys: {', '.join(sorted(known))}")
    return item


def _change(name: str, raw: Mapping[str, object]) -> Change:
    replacements = tuple(Replacement(**_table(entry)) for entry in _list(raw.get("replacements", [])))
    return Change(name, _texts(raw.get("files", {})), replacements)


def _behaviour(raw: object) -> Behaviour:
    return Behaviour(does=raw) if isinstance(raw, str) else Behaviour(**_table(raw))


def _check(name: str, item: Item) -> None:
    for role, script in item.behaviours.items():
        if role not in ROLES or not script:
            raise ScenarioError(f"{name}: {role!r} is no role with a script; roles are {', '.join(ROLES)}.")
        for behaviour in script:
            if behaviour.does not in ANY_ROLE | ONLY.get(role, frozenset()):
                raise ScenarioError(f"{name}: the {role} cannot do {behaviour.does!r}.")
            if behaviour.change and behaviour.change not in {change.name for change in item.changes}:
                raise ScenarioError(f"{name}: there is no change {behaviour.change!r}.")


def _table(raw: object) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError(f"{raw!r} should be a table")
    return raw


def _list(raw: object) -> list[object]:
    if not isinstance(raw, list):
        raise TypeError(f"{raw!r} should be a list")
    return raw


def _texts(raw: object) -> dict[str, str]:
    texts = _table(raw)
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("file contents should be strings")
    return texts
