"""The receiver: webhooks in, stored before the answer; health and queue out. Nothing else happens before a 2xx."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from deployments.receiver.queue_view import queue_view
from pipeline.errors import BadSignature, OrchError, UnreadableDelivery
from pipeline.inbound.gitea import parse_gitea
from pipeline.inbound.plane import parse_plane
from pipeline.model import Delivery
from pipeline.store import heartbeats, inbox
from tasks.inbox import Own, identify, receive, resolve_pending
from tasks.outbox import deliver
from tasks.services import Services

log = logging.getLogger("orch.receiver")

PUMP_S = 0.25
"""Seconds between looks at stored deliveries and unsent letters, besides at once after a delivery."""

TICKS_LATE = timedelta(seconds=90)
"""Without a tick of the reconciler for so long, `/healthz` says so."""

HEARTBEAT = "reconcile"

Parse = Callable[[Mapping[str, str], bytes, str], Delivery]


@dataclass
class Receiver:
    """What the receiver remembers besides the store: who Orch is outside, and that there is news to be sent."""

    root: Services
    own: Own | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)


def create_app(root: Services) -> FastAPI:
    """The receiver's application: two webhooks, `/healthz` and `/queue`."""
    receiver = Receiver(root)
    app = FastAPI(title="Orch receiver", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_pumping(receiver))
    settings = root.settings

    @app.post("/webhooks/plane")
    async def plane(request: Request) -> Response:
        return await _webhook(receiver, request, "plane", parse_plane, settings.plane_webhook_secret.get_secret_value())

    @app.post("/webhooks/gitea")
    async def gitea(request: Request) -> Response:
        return await _webhook(receiver, request, "gitea", parse_gitea, settings.gitea_webhook_secret.get_secret_value())

    @app.get("/healthz")
    async def healthz() -> Response:
        return await _health(root)

    @app.get("/queue")
    async def queue() -> Response:
        return JSONResponse(await root.store.aread(queue_view, root))

    return app


async def _webhook(receiver: Receiver, request: Request, source: str, parse: Parse, secret: str) -> Response:
    """Verify, understand, store, answer; one log line each, whatever comes."""
    body = await _body(request, receiver.root.settings.max_body_bytes)
    if body is None:
        return _answer(413, source, f"The body is larger than {receiver.root.settings.max_body_bytes} bytes.")
    if "json" not in request.headers.get("content-type", ""):
        return _answer(415, source, "Webhooks must be JSON: set the webhook's content type to application/json.")
    try:
        delivery = parse(request.headers, body, secret)
    except BadSignature as error:
        return _answer(401, source, str(error))
    except UnreadableDelivery as error:
        return _answer(400, source, str(error))
    received = await asyncio.to_thread(
        receive, receiver.root, delivery, body.decode("utf-8", errors="replace"), receiver.own
    )
    receiver.news.set()
    return _answer(202 if received.stored else 200, source, f"{delivery.event}: {received.note}")


async def _body(request: Request, limit: int) -> bytes | None:
    """The raw body, None as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


def _answer(status: int, source: str, sentence: str) -> Response:
    log.log(logging.INFO if status < 300 else logging.WARNING, "%s %s %s", source, status, sentence)
    return JSONResponse({"message": sentence}, status_code=status)


async def _health(root: Services) -> Response:
    try:
        last = await root.store.aread(heartbeats.last, HEARTBEAT)
    except Exception as error:  # whatever is wrong with the database is the answer
        log.exception("health: the database does not answer")
        return JSONResponse({"status": "down", "database": repr(error)}, status_code=503)
    late = last is None or root.now() - last > TICKS_LATE
    return JSONResponse(
        {"status": "ok", "last_tick": last.isoformat() if last else None, "reconciler": "late" if late else "ok"}
    )


def _pumping(receiver: Receiver) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pump = asyncio.create_task(_pump(receiver))
        try:
            yield
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    return lifespan


async def _pump(receiver: Receiver) -> None:
    """Learn who we are and what states mean, resolve what is pending, send what is due; for ever."""
    while True:
        try:
            await _pump_once(receiver)
        except OrchError as error:
            log.warning("pump: %s", error)
        except Exception:  # the pump must live on; what it could not do stays stored and is tried again
            log.exception("pump")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(receiver.news.wait(), PUMP_S)
        receiver.news.clear()


async def _pump_once(receiver: Receiver) -> None:
    root = receiver.root
    await deliver(root)
    if receiver.own is None:
        receiver.own = await identify(root)
    for project in root.projects.values():
        if root.states.cached(project) is None:
            await _learn(root, project.key)
    if await root.store.aread(inbox.pending, limit=1):
        await resolve_pending(root, receiver.own)
        await deliver(root)


async def _learn(root: Services, key: str) -> None:
    """One project whose states cannot be read does not keep the others from being understood."""
    try:
        await root.states.of(root.project(key))
    except OrchError as error:
        log.warning("the states of %s cannot be read: %s", key, error)
