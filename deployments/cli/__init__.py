"""The `orch` command: one module for each group of commands, put together here."""

import typer

from deployments.cli import controlling, deciding, looking, running

app = typer.Typer(name="orch", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

for commands in (running.app, looking.app, deciding.app, controlling.app):
    app.add_typer(commands)


def main() -> None:
    """The entry point."""
    app()
