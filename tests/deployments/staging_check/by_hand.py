"""The command as a process, and what the tests do to a running product by hand."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from blocks import CodingAgent, TelegramNotification
from deployments.registration import register
from tasks.services import BLOCK
from tests.support.product import Product


@dataclass(frozen=True)
class Told:
    """What the command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(self.out)["checks"]}

    @property
    def failed(self) -> dict[str, str]:
        return {name: one["sentence"] for name, one in self.checks.items() if not one["ok"]}


def command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "deployments.cli", "staging-check", *words)


def staging_check(product: Product, *words: str, **changes: str) -> Told:
    """Run the command with the product's settings, some of them changed."""
    done = subprocess.run(
        command(*words), env=product.environment | changes, cwd=product.folder, capture_output=True, text=True,
        timeout=170, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Told(done.returncode, done.stdout, done.stderr)


def automation(product: Product, name: str) -> Any:
    return next(found for found in product.prefect(lambda client: client.read_automations()) if found.name == name)


def delete_automation(product: Product, name: str) -> None:
    found: UUID = automation(product, name).id
    product.prefect(lambda client: client.delete_automation(found))


def put_right(product: Product) -> None:
    """What starting `orch up` again does."""

    async def again(client: PrefectClient) -> None:
        settings, telegram = product.settings, (await TelegramNotification.aload(BLOCK))._block_document_id
        await register(
            client, registry=settings.registry(), agents_limit=settings.max_concurrency,
            control_limit=settings.control_concurrency, telegram_block=telegram,
        )  # fmt: skip

    product.prefect(again)


async def set_agent(command: list[str]) -> list[str]:
    """Change the agent's block; the command that it had."""
    block: CodingAgent = await CodingAgent.aload(BLOCK)
    before = block.command
    await block.model_copy(update={"command": command}).asave(BLOCK, overwrite=True)
    return before
