"""What is printed about the results."""

from collections.abc import Sequence

from rich.markup import escape

from deployments.staging_check.mode import Mode
from deployments.staging_check.runner import Result


def line(result: Result) -> str:
    """A result as one line with rich's markup; what peers wrote is no markup."""
    sign = "[green]✓[/]" if result.ok else "[red]✗[/]"
    return f"{sign} {result.name}: {escape(result.sentence)}"


def as_json(mode: Mode, results: Sequence[Result]) -> dict[str, object]:
    """All results as JSON-ready data."""
    checks = [{"name": one.name, "ok": one.ok, "sentence": one.sentence, "seconds": one.seconds} for one in results]
    return {"mode": mode.value, "checks": checks, "failed": failed(results)}


def failed(results: Sequence[Result]) -> int:
    """How many checks failed, which is the exit code."""
    return sum(not one.ok for one in results)
