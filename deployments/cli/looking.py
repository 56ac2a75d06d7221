"""Commands that only look: `orch status`, `orch why`."""

import json

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.cli.console import AsJson, Key, guarded
from pipeline.settings import Settings

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
def why(key: Key, as_json: AsJson = False) -> None:
    """What an item waits for, since when, who can move it, and what happens without help."""
    from deployments.control import explain

    told = guarded(lambda: explain(Settings(), key))
    if as_json:
        print(json.dumps(told))  # noqa: T201  this is the output
        return
    typer.echo(f"{told['key']} ({told['title']}) at {told['stage']}")
    for label, name in (("waits for", "waits_for"), ("since", "since"), ("moved by", "moved_by"), ("then", "then")):
        typer.echo(f"  {label + ':':<11}{told[name]}")
