"""Everybody's turn: what is done side by side, and who comes first at this tick."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")

TURN_S = 30
"""How long somebody is the first."""

_STRIDE = 2_654_435_761
"""A prime: whatever the number of those who wait, each of them comes first at some turn."""


def rotated(found: Sequence[T], now: datetime) -> list[T]:
    """The same in the same order, begun with another one at each tick: what eats the time is not for ever the same."""
    start = int(now.timestamp() // TURN_S) * _STRIDE % len(found) if found else 0
    return [*found[start:], *found[:start]]


async def side_by_side(*work: Awaitable[None]) -> None:
    """Do all of it at once, to the end of each; raises the first trouble then, if there was any."""
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
