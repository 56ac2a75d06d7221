"""Compares the sandbox's answers with recorded ones: field names and JSON types, recursively."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).parents[2] / "captures"


def recorded(peer: str, name: str) -> dict[str, Any]:
    """A recording by its file's name without `.json`."""
    recording: dict[str, Any] = json.loads((CAPTURES / peer / f"{name}.json").read_text())
    return recording


def differences(real: object, ours: object, *, leave_out: Collection[str] = (), at: str = "") -> list[str]:
    """Where the shapes differ. null matches anything; lists compare their first elements when both have one.

    `leave_out` holds dotted paths (list elements are written `[]`) that are not compared.
    """
    if at in leave_out or real is None or ours is None:
        return []
    if isinstance(real, dict) and isinstance(ours, dict):
        return _of_objects(real, ours, leave_out, at)
    if isinstance(real, list) and isinstance(ours, list):
        return differences(real[0], ours[0], leave_out=leave_out, at=f"{at}[]") if real and ours else []
    if _kind(real) != _kind(ours):
        return [f"{at}: recorded {_kind(real)}, here {_kind(ours)}"]
    return []


def _of_objects(real: dict[str, Any], ours: dict[str, Any], leave_out: Collection[str], at: str) -> list[str]:
    found = []
    for name in sorted(real.keys() | ours.keys()):
        path = f"{at}.{name}" if at else name
        if path in leave_out:
            continue
        if name not in ours:
            found.append(f"{path}: recorded, missing here")
        elif name not in real:
            found.append(f"{path}: here, not recorded")
        else:
            found += differences(real[name], ours[name], leave_out=leave_out, at=path)
    return found


def _kind(value: object) -> str:
    """JSON's types, with whole and broken numbers told apart and booleans apart from numbers."""
    return type(value).__name__
