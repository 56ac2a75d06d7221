"""`orch init`, `orch connect ...` and `orch doctor`: from nothing to a set-up that works."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.checkup.finding import Finding, Grade, count_missing, exit_code
from deployments.cli.console import AsJson, fail, guarded, run
from pipeline.settings import Settings

app = typer.Typer()
connect = typer.Typer(
    name="connect",
    help="Try a connection for real, say what is missing, and keep it in Prefect. The exit code is how much is missing.",
    no_args_is_help=True,
)

Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing; what is not given and not set is an error.")]

_SIGNS = {Grade.OK: "[green]✓[/]", Grade.LESS: "[yellow]![/]", Grade.MISSING: "[red]✗[/]"}


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write them; `orch` is then run there.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a commented .env and projects.toml to fill in. Files that are there are left as they are."""
    from deployments.init import init as write

    told = guarded(lambda: write(folder))
    if as_json:
        print(json.dumps({"files": told}))  # noqa: T201  this is the output
        return
    typer.echo(
        "\n".join((*told, "Fill them in, then try them: orch connect plane, orch connect gitea, orch connect agent."))
    )


@connect.command()
def plane(
    url: Annotated[str, typer.Option(help="Plane's address.")] = "",
    workspace: Annotated[str, typer.Option(help="Slug of the workspace.")] = "",
    token: Annotated[str, typer.Option(help="API token of Orch's user; better typed when asked.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Plane: token, membership, states and labels; tells what to type into Plane's webhook form."""
    from deployments.connect import connect_plane

    given = {"plane_url": url, "plane_workspace": workspace, "plane_token": token}
    settings = _filled(given, yes=yes)
    _connected(run(connect_plane(settings)), settings, as_json=as_json)


@connect.command()
def gitea(
    url: Annotated[str, typer.Option(help="Gitea's address.")] = "",
    token: Annotated[str, typer.Option(help="Token of Orch's user; better typed when asked.")] = "",
    create_webhook: Annotated[
        bool, typer.Option("--create-webhook", help="Make the webhook in each repository that lacks a good one.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Gitea: token, permissions, clones, how changes land, webhooks."""
    from deployments.connect import connect_gitea

    settings = _filled({"gitea_url": url, "gitea_token": token}, yes=yes)
    _connected(run(connect_gitea(settings, create_webhook=create_webhook)), settings, as_json=as_json)


@connect.command()
def telegram(
    token: Annotated[str, typer.Option(help="The bot's token; better typed when asked.")] = "",
    chat: Annotated[str, typer.Option(help="The chat that is written to: a number, or @name for a channel.")] = "",
    set_webhook: Annotated[
        bool, typer.Option("--set-webhook", help="Have Telegram tell Orch of pressed buttons.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Telegram: the bot, the chat, and the webhook of the buttons below questions."""
    from deployments.connect import connect_telegram

    settings = _filled({"telegram_bot_token": token, "telegram_chat_id": chat}, yes=yes)
    _connected(run(connect_telegram(settings, set_webhook=set_webhook)), settings, as_json=as_json)


@connect.command()
def agent(
    command: Annotated[str, typer.Option(help="The agent's command line.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """The coding agent: its program starts in an agent's environment. No model is called."""
    from deployments.connect import connect_agent

    settings = _filled({"agent_command": command} if command else {}, yes=yes)
    _connected(run(connect_agent(settings)), settings, as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Everything about the set-up in one table; the exit code is how much is missing."""
    from deployments.doctor import doctor as look

    settings = guarded(Settings)
    _told(run(look(settings)), [], as_json=as_json)


def _filled(given: Mapping[str, str], *, yes: bool) -> Settings:
    """The settings with what was given on the command line, and what a person types for those that are not set."""
    settings = guarded(Settings)
    values: dict[str, Any] = {}
    absent = []
    for name, option in given.items():
        secret = isinstance(getattr(settings, name), SecretStr)
        if option:
            values[name] = option
        elif _plain(getattr(settings, name)):
            continue
        elif yes:
            absent.append(_variable(name))
        else:
            about = Settings.model_fields[name].description or name
            values[name] = typer.prompt(f"{about}\n{_variable(name)}", hide_input=secret, err=True)
    if absent:
        fail(f"Not set: {', '.join(absent)}. Give the options, set them, or leave out --yes.", len(absent))
    return guarded(lambda: Settings.model_validate({**settings.model_dump(), **values}))


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _variable(name: str) -> str:
    return f"ORCH_{name.upper()}"


def _connected(connection: Any, settings: Settings, *, as_json: bool) -> None:
    """Print a connection; values that are in no setting yet are told, secrets by their name alone."""
    known = guarded(Settings)
    new = [name for name in Settings.model_fields if getattr(known, name) != getattr(settings, name)]
    lines = [f"  {_variable(name)}={_shown(getattr(settings, name))}" for name in new]
    to_do = [*connection.to_do, *(["Put into .env, from where `orch up` takes it:", *lines] if lines else [])]
    _told(connection.findings, to_do, as_json=as_json)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "<as given>"
    return json.dumps(value) if isinstance(value, tuple) else str(value)


def _told(findings: list[Finding], to_do: list[str], *, as_json: bool) -> None:
    if as_json:
        entries = [
            {"about": one.about, "grade": one.grade, "sentence": one.sentence, "next_step": one.next_step or None}
            for one in findings
        ]
        print(json.dumps({"findings": entries, "to_do": to_do, "missing": count_missing(findings)}))  # noqa: T201
    else:
        _table(findings, to_do)
    raise typer.Exit(exit_code(findings))


def _table(findings: list[Finding], to_do: list[str]) -> None:
    console = Console(highlight=False)
    table = Table("")
    for heading in ("about", "what was found", "next step"):
        table.add_column(heading, overflow="fold")  # an address that is cut is of no use
    for one in findings:
        table.add_row(_SIGNS[one.grade], escape(one.about), escape(one.sentence), escape(one.next_step))
    console.print(table)
    for line in to_do:
        console.print(escape(line), soft_wrap=True)
    number = count_missing(findings)
    console.print(f"[red]{number} missing.[/]" if number else "[green]Nothing is missing.[/]")
