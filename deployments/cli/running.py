"""`orch up`, `orch demo`, `orch staging-check`: what starts processes or runs of its own."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.console import AsJson, run
from deployments.demo_scenarios import SCENARIOS
from deployments.staging_check.mode import Mode

app = typer.Typer()


@app.command()
def up() -> None:
    """Start everything with your settings and keep it running."""
    from deployments.up import up as start

    run(start())


@app.command()
def demo(
    scenario: Annotated[str, typer.Option(help=f"One of {', '.join(SCENARIOS)}.")] = "happy",
    stay: Annotated[bool, typer.Option("--stay", help="Leave everything up for you to move the next card.")] = False,
    as_json: AsJson = False,
    keep: Annotated[Path | None, typer.Option(help="Folder for the demo's state; kept afterwards.")] = None,
) -> None:
    """Take issues from To Analyse to Done on this machine, with a sandbox Plane, Gitea and Telegram."""
    from deployments.demo import demo as play

    raise typer.Exit(run(play(scenario, stay=stay, as_json=as_json, keep=keep)))


@app.command("staging-check")
def staging_check(
    mode: Annotated[Mode, typer.Option(help="stub: the scripted agent need only start; live: the real one works.")] = (
        Mode.STUB
    ),
    as_json: AsJson = False,
) -> None:
    """Ten checks of the running staging stand; the exit code is how many failed, 11 when nothing was checked."""
    from deployments.staging_check.command import REFUSED
    from deployments.staging_check.command import staging_check as check

    raise typer.Exit(run(check(mode, as_json=as_json), code=REFUSED))
