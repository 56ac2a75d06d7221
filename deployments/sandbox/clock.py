"""The time and the ids that the sandbox writes into its records."""

from datetime import UTC, datetime
from uuid import uuid4


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh UUID as Plane writes them."""
    return str(uuid4())
