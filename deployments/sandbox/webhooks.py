"""Sends webhooks as the real servers do, and runs them into the faults that were asked for."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import httpx

from deployments.sandbox.faults import Faults, Peer
from pipeline.clients.http import certificates

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Delivery:
    """One webhook on its way. `body` is made when it is sent, for Plane reads its data only then.

    `wants_2xx`: an HTTP error counts as not delivered, as it does for Telegram (its documentation says so).
    """

    peer: Peer
    event: str
    url: str
    body: Callable[[], bytes]
    headers: Callable[[bytes], Mapping[str, str]]
    retry_delays: tuple[float, ...] = ()
    gave_up: Callable[[], None] | None = None
    wants_2xx: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one attempt: `outcome` is an HTTP status, `dropped`, or the transport error's name."""

    peer: Peer
    event: str
    url: str
    outcome: str


class WebhookSender:
    """Sends deliveries, one at a time per peer, each time-out `timeout` seconds.

    An HTTP error is not tried again by Plane and Gitea (measured on CE 1.3 and 1.21); a transport error is, where the
    delivery has `retry_delays`.
    """

    def __init__(self, faults: Faults, *, timeout: float) -> None:
        self._faults = faults
        self._client = httpx.AsyncClient(
            timeout=timeout, follow_redirects=True, trust_env=False, verify=certificates(trust_env=False)
        )
        self._queues: dict[Peer, asyncio.Queue[Delivery]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._later: set[asyncio.Task[None]] = set()
        self._held: list[Delivery] = []
        self.sent: deque[Sent] = deque(maxlen=2000)

    def send(self, delivery: Delivery) -> None:
        """Queue a delivery; returns at once."""
        if delivery.peer not in self._queues:
            self._queues[delivery.peer] = asyncio.Queue()
            self._workers.append(asyncio.create_task(self._work(self._queues[delivery.peer])))
        self._queues[delivery.peer].put_nowait(delivery)

    def release_held(self) -> None:
        """Send what is held for reordering now, in reverse."""
        held, self._held = self._held[::-1], []
        self._spawn(self._in_order(held))

    async def idle(self) -> None:
        """Wait until every queued delivery was attempted once (held and delayed ones do not count)."""
        for queue in self._queues.values():
            await queue.join()

    async def close(self) -> None:
        """Stop; what is queued is lost, as it is when a real server dies."""
        for task in [*self._workers, *self._later]:
            task.cancel()
        await asyncio.gather(*self._workers, *self._later, return_exceptions=True)
        await self._client.aclose()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _work(self, queue: asyncio.Queue[Delivery]) -> None:
        while True:
            delivery = await queue.get()
            try:
                await self._through_faults(delivery)
            finally:
                queue.task_done()

    async def _through_faults(self, delivery: Delivery) -> None:
        fault = self._faults.take_webhook(delivery.peer)
        if fault is None:
            await self._attempt(delivery)
        elif fault.kind == "drop":
            self._note(delivery, "dropped")
        elif fault.kind == "duplicate":
            await self._attempt(delivery)
            await self._attempt(delivery)
        elif fault.kind == "delay":
            self._spawn(self._after(fault.seconds, delivery))
        else:
            self._held.append(delivery)
            if fault.left <= 0:
                self.release_held()

    async def _in_order(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            await self._attempt(delivery)

    async def _after(self, seconds: float, delivery: Delivery) -> None:
        await asyncio.sleep(seconds)
        await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        body = delivery.body()
        if not await self._post(delivery, body):
            if delivery.retry_delays:
                self._spawn(self._retry(delivery, body))
            elif delivery.gave_up:
                delivery.gave_up()

    async def _retry(self, delivery: Delivery, body: bytes) -> None:
        for seconds in delivery.retry_delays:
            await asyncio.sleep(seconds)
            if await self._post(delivery, body):
                return
        if delivery.gave_up:
            delivery.gave_up()

    async def _post(self, delivery: Delivery, body: bytes) -> bool:
        """Whether any HTTP answer came, or a good one where that is wanted; headers are made anew for each attempt."""
        try:
            answer = await self._client.post(delivery.url, content=body, headers=delivery.headers(body))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.info("Webhook %s to %s failed: %r", delivery.event, delivery.url, error)
            self._note(delivery, type(error).__name__)
            return False
        self._note(delivery, str(answer.status_code))
        return answer.is_success or not delivery.wants_2xx

    def _note(self, delivery: Delivery, outcome: str) -> None:
        self.sent.append(Sent(delivery.peer, delivery.event, delivery.url, outcome))

    def report(self) -> list[dict[str, str]]:
        """Every attempt so far, oldest first."""
        return [asdict(entry) for entry in self.sent]


def delivery_id() -> str:
    """A fresh delivery UUID."""
    return str(uuid4())
