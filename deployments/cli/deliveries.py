"""`orch deliveries`: what outside systems sent, what became of it, and what a recording means."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.cli.console import AsJson, guarded
from pipeline.errors import OrchError
from pipeline.projects import Registry
from pipeline.settings import Settings

UNREADABLE = 2

app = typer.Typer(name="deliveries")


@app.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that led to nothing although they should.")] = (
        False
    ),
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The latest webhooks, newest first, and what became of them."""
    from deployments.control import latest_deliveries

    if context.invoked_subcommand is not None:
        return
    found = guarded(lambda: latest_deliveries(Settings(), failed=failed, limit=limit))
    if as_json:
        print(json.dumps({"deliveries": found}))  # noqa: T201  this is the output
        return
    table = Table("id", "received", "from", "event", "what became of it")
    for one in found:
        said = one["note"] or "not understood yet"
        row = (str(one["id"]), one["received_at"][:19], one["source"], one["event"], said)
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


@app.command()
def explain(
    file: Annotated[
        Path, typer.Argument(help="A recorded delivery: JSON with `headers` and `body_b64` or `body_raw`.")
    ],
    secret: Annotated[str, typer.Option(help="The webhook's secret, to check the signature with.")] = "",
    as_json: AsJson = False,
) -> None:
    """What a recorded delivery means to Orch. Nothing is stored; exit code 2 when the file holds no recording."""
    from deployments.explain import explain as run

    told = guarded(lambda: run(file, secret, _registry()), code=UNREADABLE)
    if as_json:
        print(json.dumps(told))  # noqa: T201  this is the output
        return
    _show(told)


def _registry() -> Registry:
    """The project registry as far as it can be read: a delivery can be explained without one."""
    try:
        return Settings().registry()
    except (OrchError, ValidationError) as error:
        kind = type(error).__name__
        Console(stderr=True).print(f"The project registry is left out, because it cannot be read ({kind}).")
        return Registry()


def _show(told: dict[str, Any]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for name in ("source", "event", "signature", "dedupe_key"):
        console.print(f"{name:<12}", _text(told[name]))
    for signal in told["signals"]:
        where = f"{_text(signal['project_key'] or signal['project'])} · {_text(signal['item_ref'])}"
        console.print(f"{'signal':<12}", f"[bold]{_text(signal['name'])}[/]", where, _text(signal["actor"]))
        if signal["note"]:
            console.print(f"{'':<12}", _text(signal["note"]))
    if told["ignored_because"]:
        console.print(f"{'ignored':<12}", _text(told["ignored_because"]))


def _text(value: object) -> str:
    """A value as it can be printed: whatever a file holds is neither markup nor an encoding error."""
    return escape(str("-" if value is None else value).encode(errors="replace").decode())
