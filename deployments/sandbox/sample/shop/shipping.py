"""What sending a parcel costs."""

FREE_FROM = 5_000
"""Orders of this many cents or more are sent for free."""

FLAT_RATE = 490


def shipping(order_total: int) -> int:
    """The shipping cost of an order."""
    return 0 if order_total >= FREE_FROM else FLAT_RATE
