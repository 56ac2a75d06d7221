"""The receiver: webhooks in, stored before the answer; health and queue out. Nothing else happens before a 2xx."""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from blocks import LOGOS
from deployments.control import release
from deployments.receiver.metrics import CONTENT_TYPE, metrics
from deployments.receiver.queue_view import QueueView
from deployments.receiver.status_page import StatusPage
from pipeline.errors import BadSignature, OrchError, Refused, UnreadableDelivery
from pipeline.inbound.gitea import parse_gitea
from pipeline.inbound.plane import parse_plane
from pipeline.inbound.reading import NOT_JSON, says_json
from pipeline.inbound.telegram import parse_telegram
from pipeline.model import Delivery
from pipeline.projects import Project
from pipeline.store import deliveries, heartbeats
from tasks.inbox import Own, identify, receive
from tasks.outbox import due, send
from tasks.pending import resolve_pending
from tasks.services import Services

log = logging.getLogger("orch.receiver")

PUMP_S = 0.25
"""Seconds between looks at unsent letters, besides at once after a delivery."""

ASK_AGAIN_S, ASK_AGAIN_AT_MOST_S = 1.0, 30.0
"""Seconds until stored deliveries are looked at again; doubled, up to the second, while they cannot be understood."""

Parse = Callable[[Mapping[str, str], bytes, str], Delivery]


@dataclass
class Receiver:
    """What the receiver remembers besides the store: who Orch is outside, and that there is news to be sent."""

    root: Services
    own: Own | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sending: set[asyncio.Task[int]] = field(default_factory=set)

    async def until_news(self, within_s: float) -> None:
        """Wait for a delivery, or for so long."""
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that meets the event, and shutting down hangs.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.news.wait()
        self.news.clear()


def create_app(root: Services) -> FastAPI:
    """The receiver's application: webhooks, the page for people, `/healthz`, `/queue`, `/metrics`, operators', logos."""
    receiver = Receiver(root)
    app = FastAPI(title="Orch receiver", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_pumping(receiver))
    settings = root.settings

    @app.post("/webhooks/plane")
    async def plane(request: Request) -> Response:
        return await _webhook(receiver, request, "plane", parse_plane, settings.plane_webhook_secret.get_secret_value())

    @app.post("/webhooks/gitea")
    async def gitea(request: Request) -> Response:
        return await _webhook(receiver, request, "gitea", parse_gitea, settings.gitea_webhook_secret.get_secret_value())

    @app.post("/webhooks/telegram")
    async def telegram(request: Request) -> Response:
        secret = settings.telegram_webhook_secret.get_secret_value()
        return await _webhook(receiver, request, "telegram", parse_telegram, secret)

    @app.get("/healthz")
    async def healthz() -> Response:
        return await _health(root)

    told = QueueView(root)

    @app.get("/queue")
    async def queue() -> Response:
        return JSONResponse(await told.now())

    page = StatusPage(root)

    @app.get("/")
    async def status(request: Request) -> Response:
        return await page.answer(request)

    app.mount("/logos", StaticFiles(directory=LOGOS))

    @app.post("/transition-lease/release")
    async def release_lease(request: Request, work_item: str) -> Response:
        return await _release_lease(root, request, work_item)

    @app.get("/metrics")
    async def numbers() -> Response:
        return Response(await root.store.aread(metrics, root), media_type=CONTENT_TYPE)

    return app


async def _release_lease(root: Services, request: Request, work_item: str) -> Response:
    """`orch release-lease` for operators elsewhere."""
    if (refused := _no_operator(root, request)) is not None:
        return refused
    try:
        said = await root.store.awrite(
            release, root.texts, work_item, "an operator", root.now(), root.alive, root.went_with_its_host
        )
    except Refused as error:
        return _answer(409, "operator", str(error))
    return _answer(200, "operator", said)


def _no_operator(root: Services, request: Request) -> Response | None:
    """Why the request is not an operator's; None when it is."""
    token = root.settings.operator_token.get_secret_value()
    if not token:
        return _answer(404, "operator", "Operator endpoints are off: set ORCH_OPERATOR_TOKEN to use them.")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return _answer(403, "operator", "This needs the header `Authorization: Bearer` with ORCH_OPERATOR_TOKEN.")
    return None


async def _webhook(receiver: Receiver, request: Request, source: str, parse: Parse, secret: str) -> Response:
    """Verify, understand, store, answer; one log line each, whatever comes."""
    body = await _body(request, receiver.root.settings.max_body_bytes)
    if body is None:
        return _answer(413, source, f"The body is larger than {receiver.root.settings.max_body_bytes} bytes.")
    if not says_json(request.headers.get("content-type", "")):
        return _answer(415, source, NOT_JSON)
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
    if _declared(request) > limit:
        return None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


def _declared(request: Request) -> int:
    """The size that the sender says; 0 where it says nothing that is a number, for what comes is counted anyway."""
    try:
        return int(request.headers.get("content-length", "0"))
    except ValueError:
        return 0


def _answer(status: int, source: str, sentence: str) -> Response:
    log.log(logging.INFO if status < 300 else logging.WARNING, "%s %s %s", source, status, sentence)
    return JSONResponse({"message": sentence}, status_code=status)


async def _health(root: Services) -> Response:
    try:
        last = await root.store.aread(heartbeats.last, heartbeats.TICK)
        failing = await root.store.aread(heartbeats.failing, root.now())
    except Exception as error:  # whatever is wrong with the database is the answer
        log.exception("health: the database does not answer")
        return JSONResponse({"status": "down", "database": repr(error)}, status_code=503)
    late = last is None or root.now() - last > heartbeats.TICKS_LATE
    return JSONResponse(
        {
            "status": "ok",
            "stand": root.settings.stand,
            "last_tick": last.isoformat() if last else None,
            "reconciler": "late" if late else "ok",
            **({"failing": {part: at.isoformat() for part, at in failing.items()}} if failing else {}),
        }
    )


def _pumping(receiver: Receiver) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pumps = [asyncio.create_task(pump(receiver)) for pump in (_sending, _understanding)]
        try:
            yield
        finally:
            tasks = [*pumps, *receiver.sending]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan


async def _sending(receiver: Receiver) -> None:
    """Send what is due, for ever. Nobody waits for the answers: a Plane that hangs holds up no event to Prefect."""
    while True:
        with _living_on("sending"):
            if letters := await due(receiver.root):
                task = asyncio.create_task(send(receiver.root, letters))
                receiver.sending.add(task)
                task.add_done_callback(receiver.sending.discard)
        await receiver.until_news(PUMP_S)


async def _understanding(receiver: Receiver) -> None:
    """Learn who we are and what states mean, and resolve what is pending; for ever, less often while it fails."""
    pause = ASK_AGAIN_S
    while True:
        done = False
        with _living_on("understanding"):
            done = await _understand(receiver)
        pause = ASK_AGAIN_S if done else min(2 * pause, ASK_AGAIN_AT_MOST_S)
        await receiver.until_news(pause)


@contextlib.contextmanager
def _living_on(name: str) -> Iterator[None]:
    """What a pump could not do stays stored and is tried again."""
    try:
        yield
    except OrchError as error:
        log.warning("%s: %s", name, error)
    except Exception:  # the pump must live on
        log.exception("%s", name)


async def _understand(receiver: Receiver) -> bool:
    """Whether everything is known and nothing is pending now."""
    root = receiver.root
    if receiver.own is None:
        receiver.own = await identify(root)
    learnt = [await _learn(root, project) for project in root.projects.values()]
    if await root.store.aread(deliveries.pending, limit=1):
        await resolve_pending(root, receiver.own)
    return all(learnt) and not await root.store.aread(deliveries.pending, limit=1)


async def _learn(root: Services, project: Project) -> bool:
    """Have a project's states, fresh when they are old. One that fails does not keep the others from being understood."""
    try:
        await root.states.of(project)
    except OrchError as error:
        log.warning("the states of %s cannot be read: %s", project.key, error)
        return False
    return True
