"""What agents may use up before a person is asked. Pure: what was used is read from the store, limits from the settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.model import Choice, Decision, WaitKind


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars and tokens (all that went in, cached ones included, and out) that agent runs have used up.

    The dollars of runs that were cut off before they said their price are an estimate.
    """

    usd: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a single run, an item and a UTC day of all items may use up; 0 is no limit."""

    run_usd: float = 0.0
    item_usd: float = 0.0
    item_tokens: int = 0
    day_usd: float = 0.0
    day_tokens: int = 0


def day_of(now: datetime) -> datetime:
    """When the UTC day of `now` began."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def reached(limits: Limits, *, item: Spent, day: Spent) -> str:
    """Which limits are used up, with the numbers, as one sentence; empty when another run may start."""
    looks = (
        (limits.item_usd, item.usd, f"${item.usd:.2f} of the item's ${limits.item_usd:.2f}"),
        (limits.item_tokens, item.tokens, f"{item.tokens:,} of the item's {limits.item_tokens:,} tokens"),
        (limits.day_usd, day.usd, f"${day.usd:.2f} of today's ${limits.day_usd:.2f} for all items"),
        (limits.day_tokens, day.tokens, f"{day.tokens:,} of today's {limits.day_tokens:,} tokens for all items"),
    )
    over = [said for limit, used, said in looks if limit and used >= limit]
    return f"The budget is used up: {', '.join(over)}." if over else ""


def run_budget(limits: Limits, role_usd: float, *, item: Spent, day: Spent) -> float:
    """Dollars that the next run may cost: the least of all limits and of what is left of them; 0 is no limit.

    What is used up already does not count: then a person has let this one run go on, within the other limits.
    """
    left = (limits.item_usd - item.usd if limits.item_usd else 0, limits.day_usd - day.usd if limits.day_usd else 0)
    return min((usd for usd in (limits.run_usd, role_usd, *left) if usd > 0), default=0.0)


def next_run(runs: int) -> str:
    """What a decision about a budget is bound to, as others are to a commit: the one agent run that it lets start."""
    return f"run-{runs + 1}"


def let_go_on(decisions: Iterable[Decision], runs: int) -> bool:
    """Whether a person has let the item's next agent run start although the budget is used up."""
    return any(
        d.kind is WaitKind.BUDGET and d.choice is Choice.APPROVE and d.commit == next_run(runs) for d in decisions
    )
