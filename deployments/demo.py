"""`orch demo`: the whole product on this machine, on a sandbox, with a person played at the two human gates."""

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings
from pydantic import SecretStr
from rich.console import Console

from deployments.demo_report import Report, print_report, report
from deployments.demo_scenarios import SCENARIOS, Scenario
from deployments.demo_watch import Person, Watch
from deployments.free_ports import free_ports
from deployments.prefect_server import check_versions
from deployments.processes import Supervisor
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from deployments.sandbox.stand_settings import stand_settings
from deployments.sandbox.state import PRESSES
from deployments.stack import Running, start
from pipeline.clients.telegram import TelegramClient
from pipeline.errors import CouldNotRun, SettingsError
from pipeline.settings import Settings
from pipeline.store.engine import Store

ITEM_S = 360
"""Seconds an item may take before the demo gives up."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

PROJECT = "SHOP"
REPOSITORY = "acme/shop"


async def demo(name: str, *, stay: bool, as_json: bool, keep: Path | None) -> int:
    """Run one scenario; the exit code. What goes wrong is said with where the logs are."""
    check_versions()
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise SettingsError(f"There is no scenario {name}; there are: {', '.join(SCENARIOS)}.")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    state = keep or Path(tempfile.mkdtemp(prefix="orch-demo-"))
    state.mkdir(parents=True, exist_ok=True)
    try:
        return await _demo(console, scenario, state, stay=stay, as_json=as_json)
    except (CouldNotRun, SettingsError) as error:
        console.print(f"[bold red]The demo failed.[/] {error}\nLogs: {state / 'logs'}")
        return 1


async def _demo(console: Console, scenario: Scenario, state: Path, *, stay: bool, as_json: bool) -> int:
    console.print(f"[bold]Orch demo[/] · {scenario.name}: {scenario.tells}\nState and logs: {state}")
    told: Report | None = None  # stays so when a signal leaves the block early
    with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
        async with _everything(console, scenario, state) as (sandbox, settings, running):
            keys = await asyncio.to_thread(_open_cards, console, sandbox, scenario)
            person = Person(sandbox, console, scenario)
            watch = Watch(Store(settings.store_url), keys, console, person)
            await watch.until_all_have_ended(scenario.ended, within_s=ITEM_S * len(keys))
            told = await asyncio.to_thread(report, sandbox, settings, scenario, keys, state)
            _say(console, told, running, as_json=as_json)
            if stay:
                await _stay(console, sandbox, person, Store(settings.store_url))
    if told is None:
        console.print("Interrupted; everything that was started is stopped.")
        return INTERRUPTED
    return 0 if told.good else 1


@asynccontextmanager
async def _everything(
    console: Console, scenario: Scenario, state: Path
) -> AsyncIterator[tuple[SandboxClient, Settings, Running]]:
    """Sandbox, Prefect server, workers and receiver; all gone when the body ends, however it ends."""
    prefect_port, port = free_ports(2)
    async with (
        running_sandbox(state / "sandbox") as sandbox,
        Supervisor(state / "logs") as supervisor,
    ):
        project = {**stand_settings(sandbox.url, REPOSITORY), **scenario.project}
        settings = sandbox_settings(sandbox, scenario.file, state / "orch", port, project=project)
        sandbox.plane_webhook(
            f"http://127.0.0.1:{port}/webhooks/plane", settings.plane_webhook_secret.get_secret_value()
        )
        sandbox.gitea_webhook(
            f"http://127.0.0.1:{port}/webhooks/gitea", settings.gitea_webhook_secret.get_secret_value()
        )
        await set_telegram_webhook(settings)
        console.print("Starting the Prefect server, two workers and the receiver ...")
        running = await start(supervisor, settings, prefect_port=prefect_port)
        console.print(f"Board {sandbox.board_url}\nPrefect {running.prefect.ui_url}/runs")
        console.print(f"        (its pages ask for the text in {settings.state_dir / 'prefect-auth'})")
        yield sandbox, settings, running


def sandbox_settings(
    sandbox: SandboxClient,
    scenario: Path,
    state: Path,
    port: int,
    /,
    *,
    project: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> Settings:
    """Settings for a sandbox and its scripted agent; nothing of the user's own Orch is read.

    `project` is laid over the sandbox project's settings, `changes` over all others.
    """
    options = Options()
    registered = {
        "key": PROJECT,
        "plane_project": next(p.id for p in sandbox.state().projects if p.key == PROJECT),
        "repository": REPOSITORY,
        "test_command": list(options.test_command),
        "test_timeout_s": 120,
        **project,
    }
    return Settings.model_validate(
        {
            **{name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()},
            "state_dir": state,
            "stand": "staging",
            "port": port,
            "projects_json": json.dumps([registered]),
            "plane_url": sandbox.plane_url,
            "plane_workspace": options.workspace,
            "plane_token": SecretStr(options.plane_bot_token),
            "plane_requests_per_minute": 0,  # the sandbox's Plane has no limit of its own
            "plane_webhook_secret": SecretStr(f"plane_wh_{secrets.token_hex(16)}"),
            "gitea_url": sandbox.gitea_url,
            "gitea_token": SecretStr(options.gitea_bot_token),
            "gitea_webhook_secret": SecretStr(secrets.token_hex(16)),
            "telegram_api_url": sandbox.telegram_url,
            "telegram_bot_token": SecretStr(options.telegram_bot_token),
            "telegram_chat_id": "1",
            "telegram_webhook_secret": SecretStr(secrets.token_hex(16)),
            "telegram_allowed_user_ids": (PRESSES,),
            "agent_command": (sys.executable, "-P", "-m", "deployments.sandbox.agent", "--scenario", str(scenario)),
            **changes,
        }
    )


async def set_telegram_webhook(settings: Settings, *, secret: SecretStr | None = None) -> None:
    """Have the sandbox's Telegram tell the receiver of these settings about pressed buttons."""
    url = f"http://{settings.host}:{settings.port}/webhooks/telegram"
    async with TelegramClient(
        settings.telegram_api_url, settings.telegram_bot_token, settings.telegram_chat_id
    ) as telegram:
        await telegram.set_webhook(url, secret or settings.telegram_webhook_secret)


def _open_cards(console: Console, sandbox: SandboxClient, scenario: Scenario) -> list[str]:
    """What a person would do: write the issues and move them to To Analyse."""
    keys = [sandbox.create_card(card.title, card.description) for card in scenario.cards]
    for key, card in zip(keys, scenario.cards, strict=True):
        console.print(f"[cyan]person[/]  writes {key} “{card.title}” and moves it to To Analyse")
        sandbox.move_card(key, "To Analyse")
    return keys


def _say(console: Console, told: Report, running: Running, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told.as_json()))  # noqa: T201  this is the output
    print_report(console, told, running.prefect.ui_url)
    if not as_json:
        print(told.main_sha)  # noqa: T201  the last line is the landed commit


async def _stay(console: Console, sandbox: SandboxClient, person: Person, store: Store) -> None:
    console.print(f"Everything stays up; write and move cards at {sandbox.board_url}. Ctrl-C ends it.")
    person.silent = True
    await Watch(store, None, console, person).forever()
