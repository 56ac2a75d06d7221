"""Recorded deliveries of real servers."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[2] / "captures"


@dataclass(frozen=True)
class Recorded:
    """A webhook as it came in."""

    headers: Mapping[str, str]
    body: bytes


@pytest.fixture
def recorded() -> Callable[[str], Recorded]:
    """Reads a recording by its path below the captures, without `.json`."""

    def read(name: str) -> Recorded:
        raw = json.loads((CAPTURES / f"{name}.json").read_text())
        return Recorded(dict(raw["headers"]), base64.b64decode(raw["body_b64"]))

    return read
