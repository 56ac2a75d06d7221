"""Commands that only look: `orch status`."""

import json

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.cli.console import AsJson, guarded
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
