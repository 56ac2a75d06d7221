"""What the commands share: arguments, who types, and what goes wrong as one sentence on standard error."""

import asyncio
import getpass
import json
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from pipeline.errors import OrchError
from pipeline.settings import Settings

T = TypeVar("T")

Key = Annotated[str, typer.Argument(help="The work item's key, such as WID-12.", metavar="KEY")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def actor() -> str:
    """Who types, as it is recorded with a decision."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"cli:{os.getuid()}"


def guarded(work: Callable[[], T], *, code: int = 1) -> T:
    """What the work gives; it ends the command with `code` and a sentence when it raises what a person can mend."""
    try:
        return work()
    except OrchError as error:
        fail(str(error), code)
    except ValidationError as error:
        fail(_wrong_settings(error), code)


def run(work: Coroutine[Any, Any, T], *, code: int = 1) -> T:
    """The same for a coroutine; Ctrl-C ends the command quietly."""
    try:
        return guarded(lambda: asyncio.run(work), code=code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def say(followed: str | Sequence[str], *, as_json: bool, **about: str) -> None:
    """What followed, as sentences or as one JSON object that also says what it is about."""
    if as_json:
        typer.echo(json.dumps({**about, "followed": followed}))
        return
    for sentence in [followed] if isinstance(followed, str) else followed:
        typer.echo(sentence)


def fail(sentence: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    console = Console(stderr=True, soft_wrap=True)
    console.print("[bold red]orch:[/]", escape(sentence), highlight=False)
    raise typer.Exit(code)


def _wrong_settings(error: ValidationError) -> str:
    """What is wrong with the settings; values are left out, because some are secrets. Anything else is a bug."""
    if error.title != Settings.__name__:
        raise error
    told = ["These settings cannot be read (environment or .env):"]
    for problem in error.errors(include_input=False, include_context=False, include_url=False):
        name = "".join(f"ORCH_{part}: ".upper() for part in problem["loc"][:1])
        told.append(f"  {name}{problem['msg']}")
    return "\n".join(told)
