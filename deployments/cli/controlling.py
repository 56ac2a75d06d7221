"""What an operator does besides deciding: `orch depend`, `freeze`, `thaw`, `release-lease`, `replay`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from deployments.cli.console import AsJson, Key, actor, fail, guarded, say
from pipeline.settings import Settings

app = typer.Typer()

ProjectKey = Annotated[str, typer.Argument(help="A project's key; without it: everything.", metavar="[PROJECT]")]


@app.command()
def depend(
    key: Key,
    on: Annotated[list[str] | None, typer.Option(help="Wait for this item; may be given more than once.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Wait for this item no longer.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have an item wait, before its next stage, until others are done or cancelled."""
    from deployments.control import depend as have_wait

    if not on and not remove:
        fail("Say what to wait for: --on KEY (or --remove KEY).", 2)
    say(guarded(lambda: have_wait(Settings(), key, on or [], remove or [])), as_json=as_json, key=key)


@app.command()
def freeze(
    why: Annotated[str, typer.Option(help="The reason, which every item that is kept out tells.")],
    project: ProjectKey = "",
    as_json: AsJson = False,
) -> None:
    """Keep changes from landing and from being deployed; work goes on."""
    from deployments.control import freeze as keep

    say(guarded(lambda: keep(Settings(), project, why, actor())), as_json=as_json, project=project)


@app.command()
def thaw(project: ProjectKey = "", as_json: AsJson = False) -> None:
    """Take a freeze back; what it kept out goes on."""
    from deployments.control import thaw as let_go

    say(guarded(lambda: let_go(Settings(), project)), as_json=as_json, project=project)


@app.command("release-lease")
def release_lease(key: Key, as_json: AsJson = False) -> None:
    """Take an item away from the run that owns it, so that another one takes over."""
    from deployments.control import release_lease as release

    say(guarded(lambda: release(Settings(), key, actor())), as_json=as_json, key=key)


@app.command()
def replay(
    numbers: Annotated[list[int] | None, typer.Argument(help="Ids of deliveries.", metavar="ID...")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Everything received since this time (UTC), such as 2026-11-21T03:00:00.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Apply stored deliveries again, as if they came now; what was applied stays applied."""
    from deployments.control import replay as apply_again

    if not numbers and since is None:
        fail("Say which: an id of `orch deliveries`, or --since TIME.", 2)
    moment = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
    say(guarded(lambda: apply_again(Settings(), numbers or [], moment)), as_json=as_json)
