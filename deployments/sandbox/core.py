"""What every part of the sandbox shares: the world, the options, the faults, the webhooks, and the saved file."""

import asyncio
import contextlib
import json
import os
from collections import Counter
from pathlib import Path

from deployments.sandbox.faults import Faults
from deployments.sandbox.options import Options
from deployments.sandbox.state import World
from deployments.sandbox.webhooks import WebhookSender

SAVE_AFTER_S = 0.2
"""How long changes are collected before they are written, in seconds."""


class Core:
    """The shared heart of a running sandbox. Belongs to one event loop."""

    def __init__(self, root: Path, base_url: str, options: Options) -> None:
        self.root = root
        self.base_url = base_url.rstrip("/")
        self.options = options
        self.faults = Faults()
        self.webhooks = WebhookSender(self.faults, timeout=options.webhook_timeout_s)
        self.requests: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._file = root / "sandbox.json"
        self._saving: asyncio.Task[None] | None = None
        self._one_writer = asyncio.Lock()
        self.fresh = not self._file.exists()
        self.world = World() if self.fresh else World.model_validate_json(self._file.read_bytes())

    @property
    def plane_url(self) -> str:
        """The address that a client uses as Plane's."""
        return f"{self.base_url}/plane"

    @property
    def gitea_url(self) -> str:
        """The address that a client uses as Gitea's."""
        return f"{self.base_url}/gitea"

    def changed(self) -> None:
        """Note that the world changed; it is saved a moment later."""
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_soon())

    async def _save_soon(self) -> None:
        await asyncio.sleep(SAVE_AFTER_S)
        self._saving = None
        await self.save()

    async def save(self) -> None:
        """Write the world to `<root>/sandbox.json`, atomically."""
        async with self._one_writer:
            text = json.dumps(self.world.model_dump(mode="json"), indent=1)
            await asyncio.to_thread(_replace, self._file, text)

    async def close(self) -> None:
        """Stop sending webhooks and save."""
        await self.webhooks.close()
        if self._saving is not None:
            self._saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._saving
        await self.save()


def _replace(file: Path, text: str) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(text)
    part.replace(file)
