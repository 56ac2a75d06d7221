"""What a person decides about one item: `orch approve`, `reject`, `confirm`, `answer`, `stop`, `retry`."""

from typing import Annotated

import typer

from deployments.cli.console import Key, actor, guarded
from pipeline.settings import Settings

app = typer.Typer()


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
    """Stop an item for good: its agent, its runs, its worktree, its branch and its pull request."""
    _decide(key, "stop_requested", "")


@app.command()
def retry(key: Key) -> None:
    """Let a held item go on where it stands; an escalated one gets all its attempts again."""
    from deployments.operator import retry as let_go

    typer.echo(guarded(lambda: let_go(Settings(), key, actor())))


def _decide(key: str, signal: str, text: str) -> None:
    from deployments.operator import signal as give

    typer.echo(guarded(lambda: give(Settings(), key, signal, text, actor())))
