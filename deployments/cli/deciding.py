"""What a person decides about one item: `orch approve`, `reject`, `confirm`, `answer`, `stop`, `retry`."""

from typing import Annotated

import typer

from deployments.cli.console import AsJson, Key, actor, guarded, say
from pipeline.settings import Settings

app = typer.Typer()


@app.command()
def approve(
    key: Key, comment: Annotated[str, typer.Option(help="A word about it.")] = "", as_json: AsJson = False
) -> None:
    """Approve the analysis that was shown last, or accept the findings about a change's own checks."""
    _decide(key, "approved", comment, as_json=as_json)


@app.command()
def reject(
    key: Key, comment: Annotated[str, typer.Option(help="What has to change.")] = "", as_json: AsJson = False
) -> None:
    """Reject the analysis, or a change that weakens its checks; the comment goes into the next prompt."""
    _decide(key, "rejected", comment, as_json=as_json)


@app.command()
def confirm(key: Key, as_json: AsJson = False) -> None:
    """Confirm the deploy of the commit that was shown last."""
    _decide(key, "deploy_confirmed", "", as_json=as_json)


@app.command()
def answer(key: Key, text: Annotated[str, typer.Argument(help="The answer.")], as_json: AsJson = False) -> None:
    """Answer the agent's question."""
    _decide(key, "answer_given", text, as_json=as_json)


@app.command()
def stop(key: Key, as_json: AsJson = False) -> None:
    """Stop an item for good: its agent, its runs, its worktree, its branch and its pull request."""
    _decide(key, "stop_requested", "", as_json=as_json)


@app.command()
def retry(key: Key, as_json: AsJson = False) -> None:
    """Let a held item go on where it stands; an escalated one gets all its attempts again."""
    from deployments.operator import retry as let_go

    say(guarded(lambda: let_go(Settings(), key, actor())), as_json=as_json, key=key)


def _decide(key: str, signal: str, text: str, *, as_json: bool) -> None:
    from deployments.operator import signal as give

    say(guarded(lambda: give(Settings(), key, signal, text, actor())), as_json=as_json, key=key)
