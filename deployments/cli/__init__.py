"""The `orch` command: one module for each group of commands, put together here."""

import typer

from deployments.cli import connecting, controlling, deciding, deliveries, looking, running

app = typer.Typer(name="orch", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

for commands in (running.app, connecting.app, looking.app, deciding.app, controlling.app):
    app.add_typer(commands)
for group in (connecting.connect, deliveries.app):
    app.add_typer(group)


def main() -> None:
    """The entry point."""
    app()
