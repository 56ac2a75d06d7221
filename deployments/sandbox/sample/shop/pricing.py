"""Discounts and totals."""

from collections.abc import Iterable


def discounted(price: int, percent: int) -> int:
    """`price` less `percent` per cent, rounded down to whole cents."""
    if not 0 <= percent <= 100:
        raise ValueError(f"A discount is 0 to 100 per cent, not {percent}.")
    return price * (100 - percent) // 100


def total(prices: Iterable[int], percent: int = 0) -> int:
    """The sum of `prices`, less a discount on the whole."""
    return discounted(sum(prices), percent)
