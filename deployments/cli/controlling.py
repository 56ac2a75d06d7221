"""What an operator does besides deciding: `orch depend`, `freeze`, `thaw`, `release-lease`, `deliveries`, `replay`."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.cli.console import AsJson, Key, actor, fail, guarded
from pipeline.settings import Settings

app = typer.Typer()

ProjectKey = Annotated[str, typer.Argument(help="A project's key; without it: everything.", metavar="[PROJECT]")]


@app.command()
def depend(
    key: Key,
    on: Annotated[list[str] | None, typer.Option(help="Wait for this item; may be given more than once.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Wait for this item no longer.")] = None,
) -> None:
    """Have an item wait, before its next stage, until others are done or cancelled."""
    from deployments.control import depend as have_wait

    if not on and not remove:
        fail("Say what to wait for: --on KEY (or --remove KEY).", 2)
    for sentence in guarded(lambda: have_wait(Settings(), key, on or [], remove or [])):
        typer.echo(sentence)


@app.command()
def freeze(
    why: Annotated[str, typer.Option(help="The reason, which every item that is kept out tells.")],
    project: ProjectKey = "",
) -> None:
    """Keep changes from landing and from being deployed; work goes on."""
    from deployments.control import freeze as keep

    typer.echo(guarded(lambda: keep(Settings(), project, why, actor())))


@app.command()
def thaw(project: ProjectKey = "") -> None:
    """Take a freeze back; what it kept out goes on."""
    from deployments.control import thaw as let_go

    typer.echo(guarded(lambda: let_go(Settings(), project)))


@app.command("release-lease")
def release_lease(key: Key) -> None:
    """Take an item away from the run that owns it, so that another one takes over."""
    from deployments.control import release_lease as release

    typer.echo(guarded(lambda: release(Settings(), key, actor())))


@app.command()
def deliveries(
    failed: Annotated[bool, typer.Option("--failed", help="Only those that led to nothing although they should.")] = (
        False
    ),
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The latest webhooks, newest first, and what became of them."""
    from deployments.control import deliveries as listed

    found = guarded(lambda: listed(Settings(), failed=failed, limit=limit))
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
def replay(
    numbers: Annotated[list[int] | None, typer.Argument(help="Ids of deliveries.", metavar="ID...")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Everything received since this time (UTC), such as 2026-11-21T03:00:00.")
    ] = None,
) -> None:
    """Apply stored deliveries again, as if they came now; what was applied stays applied."""
    from deployments.control import replay as apply_again

    if not numbers and since is None:
        fail("Say which: an id of `orch deliveries`, or --since TIME.", 2)
    moment = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
    for sentence in guarded(lambda: apply_again(Settings(), numbers or [], moment)):
        typer.echo(sentence)
