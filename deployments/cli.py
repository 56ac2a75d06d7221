"""The `orch` command."""

import asyncio
import getpass
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.demo_scenarios import SCENARIOS
from deployments.staging_check.mode import Mode
from pipeline.errors import OrchError
from pipeline.settings import Settings

T = TypeVar("T")

app = typer.Typer(name="orch", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Key = Annotated[str, typer.Argument(help="The work item's key, such as WID-12.", metavar="KEY")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command()
def up() -> None:
    """Start everything with your settings and keep it running."""
    from deployments.up import up as run

    _run(run())


@app.command()
def demo(
    scenario: Annotated[str, typer.Option(help=f"One of {', '.join(SCENARIOS)}.")] = "happy",
    stay: Annotated[bool, typer.Option("--stay", help="Leave everything up for you to move the next card.")] = False,
    as_json: AsJson = False,
    keep: Annotated[Path | None, typer.Option(help="Folder for the demo's state; kept afterwards.")] = None,
) -> None:
    """Take issues from To Analyse to Done on this machine, with a sandbox Plane, Gitea and Telegram."""
    from deployments.demo import demo as run

    raise typer.Exit(_run(run(scenario, stay=stay, as_json=as_json, keep=keep)))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Every work item: where it stands, what it waits for, and since when."""
    from deployments.operator import overview

    items = _guarded(lambda: overview(Settings()))
    if as_json:
        print(json.dumps({"items": items}))  # noqa: T201  this is the output
        return
    table = Table("item", "stage", "visit", "since", "waits for / why")
    for item in items:
        # Reasons are what people, tests and agents wrote: a bracket in them is no markup.
        table.add_row(item["key"], item["stage"], str(item["visit"]), item["since"][:16], escape(item["why"] or ""))
    Console().print(table)


@app.command()
def approve(key: Key, comment: Annotated[str, typer.Option(help="A word about it.")] = "") -> None:
    """Approve the analysis that was shown last, or accept the findings about a change's own checks."""
    _decide(key, "approved", comment)


@app.command()
def reject(key: Key, comment: Annotated[str, typer.Option(help="What has to change.")] = "") -> None:
    """Reject the analysis, or a change that weakens its checks; the comment goes into the next prompt."""
    _decide(key, "rejected", comment)


@app.command()
def confirm(key: Key) -> None:
    """Confirm the deploy of the commit that was shown last."""
    _decide(key, "deploy_confirmed", "")


@app.command()
def answer(key: Key, text: Annotated[str, typer.Argument(help="The answer.")]) -> None:
    """Answer the agent's question."""
    _decide(key, "answer_given", text)


@app.command()
def stop(key: Key) -> None:
    """Stop an item for good: its agent, its runs and its worktree."""
    _decide(key, "stop_requested", "")


@app.command()
def retry(key: Key) -> None:
    """Let a held item go on where it stands; an escalated one gets all its attempts again."""
    from deployments.operator import retry as run

    typer.echo(_guarded(lambda: run(Settings(), key, _actor())))


@app.command("staging-check")
def staging_check(
    mode: Annotated[Mode, typer.Option(help="stub: the scripted agent need only start; live: the real one works.")] = (
        Mode.STUB
    ),
    as_json: AsJson = False,
) -> None:
    """Ten checks of the running staging stand; the exit code is how many failed, 11 when nothing was checked."""
    from deployments.staging_check.command import REFUSED
    from deployments.staging_check.command import staging_check as run

    raise typer.Exit(_run(run(mode, as_json=as_json), code=REFUSED))


def _decide(key: str, signal: str, text: str) -> None:
    from deployments.operator import signal as run

    typer.echo(_guarded(lambda: run(Settings(), key, signal, text, _actor())))


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"cli:{os.getuid()}"


def _guarded(work: Callable[[], T], *, code: int = 1) -> T:
    try:
        return work()
    except OrchError as error:
        _fail(str(error), code)
    except ValidationError as error:
        _fail(_wrong_settings(error), code)


def _run(work: Coroutine[Any, Any, T], *, code: int = 1) -> T:
    """What the work gives; the exit code is `code` when it raises what a person can mend."""
    try:
        return _guarded(lambda: asyncio.run(work), code=code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _wrong_settings(error: ValidationError) -> str:
    """What is wrong with the settings; values are left out, because some are secrets. Anything else is a bug."""
    if error.title != Settings.__name__:
        raise error
    told = ["These settings cannot be read (environment or .env):"]
    for problem in error.errors(include_input=False, include_context=False, include_url=False):
        name = "".join(f"ORCH_{part}: ".upper() for part in problem["loc"][:1])
        told.append(f"  {name}{problem['msg']}")
    return "\n".join(told)


def _fail(sentence: str, code: int) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True)
    console.print("[bold red]orch:[/]", escape(sentence), highlight=False)
    raise typer.Exit(code)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
