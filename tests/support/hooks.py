"""Webhooks as Plane and Gitea write them, and a receiver to send them to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

from deployments.receiver.app import create_app
from deployments.sandbox.views import CardView
from pipeline.inbound.signature import sign
from pipeline.settings import Settings
from tests.support.services import Desk, until


def plane_moved(
    desk: Desk, card: CardView, state: str, *, actor_id: str = "ada-id", actor: str = "ada", state_id: str = "",
    stands_in: str = "", updated_at: datetime | None = None,
) -> bytes:  # fmt: skip
    """Plane's delivery about a card that a person moved to a state; another one each time it is called.

    `stands_in` is the state in which it stands when the delivery is written, if it has been moved on before. Without
    `updated_at` it tells no time that can be read.
    """
    states = desk.states()
    data = {
        "id": card.id,
        "project": str(desk.project.plane_project),
        "state": {"id": state_id or states[stands_in or state], "name": stands_in or state, "group": "started"},
        "name": card.title,
        "sequence_id": int(card.key.rpartition("-")[2]),
        "updated_at": updated_at.isoformat() if updated_at else str(uuid4()),
    }
    activity = {
        "field": "state_id",
        "new_value": state_id or states[state],
        "actor": {"id": actor_id, "display_name": actor},
    }
    return json.dumps({"event": "issue", "action": "updated", "data": data, "activity": activity}).encode()


def plane_commented(desk: Desk, card: CardView, text: str, *, actor_id: str = "ada-id", email: str = "") -> bytes:
    """Plane's delivery about a new comment."""
    data = {"id": str(uuid4()), "issue": card.id, "project": str(desk.project.plane_project)}
    data |= {"comment_html": f"<p>{text}</p>", "actor": actor_id}
    activity = {"actor": {"id": actor_id, "display_name": "ada", "email": email}}
    return json.dumps({"event": "issue_comment", "action": "created", "data": data, "activity": activity}).encode()


def gitea_status(sha: str, *branches: str, state: str = "success", repository: str = "acme/shop") -> bytes:
    """Gitea's delivery about a finished commit status, reported under Orch's own user as CI often is."""
    told: dict[str, Any] = {"repository": {"full_name": repository}, "sha": sha, "state": state, "context": "ci"}
    told |= {"sender": {"login": "orch-bot"}, "branches": [{"name": branch} for branch in branches]}
    return json.dumps(told).encode()


def gitea_pull_closed(branch: str, number: int, *, base: str = "main", merged_by: str | None = None) -> bytes:
    """Gitea's delivery about a pull request that a person merged, or closed unmerged."""
    repository = {"full_name": "acme/shop"}
    pull: dict[str, Any] = {"number": number, "merged": merged_by is not None, "base": {"ref": base}}
    pull |= {"head": {"ref": branch, "label": branch, "sha": "f" * 40, "repo": repository}}
    pull |= {"merged_by": {"login": merged_by} if merged_by else None}
    told = {"action": "closed", "repository": repository, "sender": {"login": "ada"}, "pull_request": pull}
    return json.dumps(told).encode()


def plane_headers(settings: Settings, body: bytes) -> dict[str, str]:
    """The headers that Plane sends with a body."""
    return {
        "Content-Type": "application/json",
        "X-Plane-Signature": sign(body, settings.plane_webhook_secret.get_secret_value()),
    }


def gitea_headers(settings: Settings, body: bytes, event: str) -> dict[str, str]:
    """The headers that Gitea sends with a body."""
    return {
        "Content-Type": "application/json",
        "X-Gitea-Event-Type": event,
        "X-Gitea-Signature": sign(body, settings.gitea_webhook_secret.get_secret_value()),
    }


@asynccontextmanager
async def receiving(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a receiver that serves on the desk's port, pumps included."""
    where = {"host": desk.settings.host, "port": desk.settings.port}
    server = uvicorn.Server(uvicorn.Config(create_app(desk.root), **where, log_config=None, lifespan="on"))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    url = f"http://{desk.settings.host}:{desk.settings.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def plane_says(web: httpx.AsyncClient, desk: Desk, body: bytes, **headers: str) -> httpx.Response:
    """Send a delivery of Plane's, signed."""
    return await web.post("/webhooks/plane", content=body, headers=plane_headers(desk.settings, body) | headers)


async def gitea_says(web: httpx.AsyncClient, desk: Desk, body: bytes, event: str = "status") -> httpx.Response:
    """Send a delivery of Gitea's, signed."""
    return await web.post("/webhooks/gitea", content=body, headers=gitea_headers(desk.settings, body, event))
