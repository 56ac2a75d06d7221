"""Commands that only look: `orch status`, `orch why`, `orch log`, `orch cost`."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.cli.console import AsJson, Key, fail, guarded
from pipeline.settings import Settings
from pipeline.stages import Stage

app = typer.Typer()


@app.command()
def status(as_json: AsJson = False) -> None:
    """Every work item: where it stands, what it waits for, and since when."""
    from deployments.operator import overview

    items = guarded(lambda: overview(Settings()))
    if as_json:
        print(json.dumps({"items": items}))  # noqa: T201  this is the output
        return
    table = Table("item", "stage", "visit", "since", "waits for / why")
    for item in items:
        # Reasons are what people, tests and agents wrote: a bracket in them is no markup.
        table.add_row(item["key"], item["stage"], str(item["visit"]), item["since"][:16], escape(item["why"] or ""))
    Console().print(table)


@app.command()
def log(
    key: Key,
    number: Annotated[
        int | None, typer.Option("--run", help="Number of the run; the last one unless given.", min=1)
    ] = None,
    lines: Annotated[int, typer.Option(help="How many of its last lines.", min=0, max=10_000)] = 40,
    as_json: AsJson = False,
) -> None:
    """What an item's agents printed: its runs, and the end of one run's log."""
    from deployments.runs import runs, tail

    found = guarded(lambda: runs(Settings(), key))
    if number and number > len(found):
        fail(f"{key} has {len(found)} agent runs, so there is no run {number}.", 1)
    chosen = found[(number or len(found)) - 1] if found else None
    end = tail(chosen["log"], lines) if chosen else ""
    if as_json:
        print(json.dumps({"key": key, "runs": found, "run": chosen and chosen["number"], "tail": end}))  # noqa: T201
        return
    _print_runs(found)
    if chosen:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        console.print(f"Run {chosen['number']}, the end of {chosen['log']}:")
        console.print(end or "(empty, or the file is gone)")


def _print_runs(found: list[dict[str, Any]]) -> None:
    table = Table("run", "role", "visit", "started", "ended", "cost $", "how")
    for one in found:
        ended = str(one["end"] or "runs")
        cost = f"{one['cost_usd']:.2f}"
        table.add_row(
            *(str(one["number"]), one["role"], str(one["visit"]), one["started_at"][:16], ended, cost),
            escape(one["sentence"]),
        )
    Console().print(table)


@app.command()
def cost(
    key: Annotated[str | None, typer.Argument(help="One item; all unless given.", metavar="[KEY]")] = None,
    as_json: AsJson = False,
) -> None:
    """Tokens and money that agents consumed: each item and all together, the cached input told apart."""
    from deployments.runs import costs

    told = guarded(lambda: costs(Settings(), key))
    if as_json:
        print(json.dumps(told))  # noqa: T201  this is the output
        return
    table = Table("item", "stage", "runs", "input", "of it cached", "output", "cost $")
    for one in (*told["items"], {"key": "total", "stage": "", **told["total"]}):
        tokens = (f"{one[name]:,}" for name in ("input_tokens", "cached_tokens", "output_tokens"))
        table.add_row(one["key"], one["stage"], str(one["runs"]), *tokens, f"{one['cost_usd']:.2f}")
    Console().print(table)


@app.command()
def why(key: Key, as_json: AsJson = False) -> None:
    """What an item waits for, since when, who can move it, and what happens without help."""
    from deployments.control import explain
    from deployments.pauses import paused

    told = guarded(lambda: explain(Settings(), key))
    told["paused"] = [] if Stage(told["stage"]).terminal else asyncio.run(paused(Settings()))
    if as_json:
        print(json.dumps(told))  # noqa: T201  this is the output
        return
    typer.echo(f"{told['key']} ({told['title']}) at {told['stage']}")
    for label, name in (("waits for", "waits_for"), ("since", "since"), ("moved by", "moved_by"), ("then", "then")):
        typer.echo(f"  {label + ':':<11}{told[name]}")
    for sentence in told["paused"]:
        typer.echo(f"  {sentence}")
