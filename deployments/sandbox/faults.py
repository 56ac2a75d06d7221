"""Faults on request: failing, slow and hanging answers per peer, and lost, late, doubled or reordered webhooks."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

Peer = Literal["plane", "gitea", "telegram"]
PEERS: tuple[Peer, ...] = ("plane", "gitea", "telegram")


@dataclass(slots=True)
class RequestFault:
    """What happens to the next `left` requests of a peer whose "METHOD path" contains `match`.

    `after` carries the request out first and spoils only its answer: the caller cannot tell what happened.
    """

    kind: Literal["fail", "delay", "hang"]
    left: int | None
    match: str = ""
    status: int = 500
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    after: bool = False


@dataclass(slots=True)
class WebhookFault:
    """What happens to the next `left` deliveries of a peer (None = of any)."""

    kind: Literal["drop", "duplicate", "delay", "reorder"]
    left: int
    peer: Peer | None = None
    seconds: float = 0.0


class Faults:
    """The faults in force. All methods take effect at once; `clear` ends them and lets what hangs go."""

    def __init__(self) -> None:
        self._requests: dict[Peer, list[RequestFault]] = {peer: [] for peer in PEERS}
        self._webhooks: list[WebhookFault] = []
        self._dropping: set[Peer] = set()
        self._cleared = asyncio.Event()

    def fail_next(
        self,
        peer: Peer,
        n: int = 1,
        *,
        status: int = 500,
        body: object = None,
        headers: dict[str, str] | None = None,
        match: str = "",
        after: bool = False,
    ) -> None:
        """Answer the next `n` requests with `status` and `body` (JSON; None = what the peer's proxy would say)."""
        fault = RequestFault("fail", n, match, status=status, body=body, headers=headers or {}, after=after)
        self._requests[peer].append(fault)

    def delay(self, peer: Peer, seconds: float, n: int | None = None, *, match: str = "") -> None:
        """Answer the next `n` requests (None: all of them) `seconds` late."""
        self._requests[peer].append(RequestFault("delay", n, match, seconds=seconds))

    def hang(self, peer: Peer, n: int | None = None, *, match: str = "", after: bool = False) -> None:
        """Never answer the next `n` requests (None: any) until the faults are cleared; then they get a 503."""
        self._requests[peer].append(RequestFault("hang", n, match, status=503, after=after))

    def webhook(
        self, kind: Literal["drop", "duplicate", "delay", "reorder"], n: int, *, peer: Peer | None, seconds: float = 0.0
    ) -> None:
        """Drop, double, delay (by `seconds`) or hold and reverse the next `n` deliveries."""
        self._webhooks.append(WebhookFault(kind, n, peer, seconds))

    def drop_all(self, on: bool, *, peer: Peer | None = None) -> None:
        """Lose every delivery (of one peer, or of all) from now on, or no longer."""
        affected: set[Peer] = {peer} if peer else set(PEERS)
        self._dropping = self._dropping | affected if on else self._dropping - affected

    def clear(self) -> None:
        """End all faults. Deliveries held for reordering are the webhook sender's to release."""
        for waiting in self._requests.values():
            waiting.clear()
        self._webhooks.clear()
        self._dropping.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def until_cleared(self) -> None:
        """Wait for the next `clear`."""
        await self._cleared.wait()

    def take_request(self, peer: Peer, call: str) -> RequestFault | None:
        """The fault that this request ("METHOD path") runs into, counted off."""
        for fault in self._requests[peer]:
            if fault.match in call:
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left == 0:
                        self._requests[peer].remove(fault)
                return fault
        return None

    def take_webhook(self, peer: Peer) -> WebhookFault | None:
        """The fault that this delivery runs into, counted off."""
        if peer in self._dropping:
            return WebhookFault("drop", 1)
        for fault in self._webhooks:
            if fault.peer in (None, peer):
                fault.left -= 1
                if fault.left <= 0:
                    self._webhooks.remove(fault)
                return fault
        return None
