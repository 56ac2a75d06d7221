"""Stands before the three servers: counts every request and runs it into the faults that were asked for."""

import asyncio
import json
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.sandbox.core import Core
from deployments.sandbox.faults import PEERS, Peer, RequestFault

PATTERNS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "{id}"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "{sha}"),
    (re.compile(r"/bot[^/]+/"), "/bot{token}/"),
    (re.compile(r"/[A-Z][A-Z0-9]*-\d+(?=/|$)"), "/{key}"),
    (re.compile(r"/\d+(?=/|$)"), "/{n}"),
)


def pattern(path: str) -> str:
    """A path with its ids taken out, so that calls can be counted by kind."""
    for found, name in PATTERNS:
        path = found.sub(name, path)
    return path


class Gatekeeper:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = _peer(scope)
        if peer is None:
            await self._app(scope, receive, send)
            return
        call = f"{scope['method']} {scope['path'].removeprefix(f'/{peer}')}"
        self._core.requests[peer] += 1
        self._core.calls[f"{peer} {pattern(call)}"] += 1
        fault = self._core.faults.take_request(peer, call)
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        else:
            await self._spoil(peer, fault, scope, receive, send)

    async def _spoil(self, peer: Peer, fault: RequestFault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.after:
            await self._app(scope, receive, _nowhere)
        if fault.kind == "hang":
            cleared = asyncio.create_task(self._core.faults.until_cleared())
            gone = asyncio.create_task(_disconnected(receive))
            await asyncio.wait({cleared, gone}, return_when=asyncio.FIRST_COMPLETED)
            cleared.cancel()
            gone.cancel()
        await _answer(send, fault.status, _body(peer, fault), fault.headers)


def _peer(scope: Scope) -> Peer | None:
    if scope["type"] != "http":
        return None
    return next((peer for peer in PEERS if scope["path"].startswith(f"/{peer}/")), None)


def _body(peer: Peer, fault: RequestFault) -> bytes:
    if isinstance(fault.body, str):
        return fault.body.encode()
    if fault.body is not None:
        return json.dumps(fault.body).encode()
    usual: Mapping[Peer, object] = {
        "plane": {"error": "Something went wrong please try again later"},
        "gitea": {"message": "", "url": ""},
        "telegram": {"ok": False, "error_code": fault.status, "description": "Internal Server Error"},
    }
    return json.dumps(usual[peer]).encode()


async def _answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    kind = b"application/json" if body[:1] in (b"{", b"[") else b"text/html"
    made = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    made += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": made})
    await send({"type": "http.response.body", "body": body})


async def _nowhere(_message: Message) -> None:
    """Where the answer of a request goes that was carried out but shall look lost."""


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
