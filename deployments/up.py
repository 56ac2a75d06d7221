"""`orch up`: everything with the user's settings, until it is told to stop."""

import sys

from rich.console import Console

from deployments.prefect_server import check_versions
from deployments.processes import Supervisor
from deployments.stack import free_what_was_stopped, start
from pipeline.settings import Settings


async def up() -> None:
    """Start, say where everything is, and keep it alive. Left quietly on Ctrl-C or SIGTERM; see `deployments.stack`."""
    check_versions()
    settings = Settings()
    settings.require()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    async with Supervisor(settings.state_dir / "logs", terminal=sys.stderr) as supervisor:
        running = await start(supervisor, settings, prefect_port=settings.prefect_port)
        for sentence in (*running.registered.changes, *running.registered.remarks):
            console.print(f"  {sentence}", highlight=False)
        console.print(f"[bold green]Orch is up.[/] Receiver {running.receiver_url} · Prefect {running.prefect.ui_url}")
        if running.prefect.environment.get("PREFECT_API_AUTH_STRING"):
            console.print(f"Prefect's pages ask for the text in {settings.state_dir / 'prefect-auth'}", highlight=False)
        await supervisor.wait()
    free_what_was_stopped(settings)
