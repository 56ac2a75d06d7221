"""Who sends webhooks, as a table: how a delivery of each is told, checked and understood."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.inbound import gitea, plane, telegram
from pipeline.inbound.signature import check_secret, check_signature, header
from pipeline.model import Delivery


@dataclass(frozen=True, slots=True)
class Source:
    """One sender. `told_by` are headers that only this sender has; `signature` is the one that proves it.

    `events` are the headers that name the event, the finest name first.

    `check(body, signature, secret)` raises `BadSignature`, `understand(headers, body)` raises `UnreadableDelivery`.
    """

    name: str
    told_by: tuple[str, ...]
    events: tuple[str, ...]
    signature: str
    check: Callable[[bytes, str, str], None]
    understand: Callable[[Mapping[str, str], bytes], Delivery]

    def signature_of(self, headers: Mapping[str, str]) -> str:
        """The signature that came with these headers; empty when there is none."""
        return header(headers, self.signature)

    def event_of(self, headers: Mapping[str, str]) -> str:
        """The event that these headers name, whatever the body says; empty when they name none."""
        return header(headers, *self.events)


SOURCES = (
    Source(
        name=plane.SOURCE,
        told_by=(*plane.EVENTS, "X-Plane-Delivery", plane.SIGNATURE),
        events=plane.EVENTS,
        signature=plane.SIGNATURE,
        check=check_signature,
        understand=plane.understand_plane,
    ),
    Source(
        name=gitea.SOURCE,
        told_by=(*gitea.EVENTS, "X-Gitea-Delivery", gitea.SIGNATURE),
        events=gitea.EVENTS,
        signature=gitea.SIGNATURE,
        check=check_signature,
        understand=gitea.understand_gitea,
    ),
    Source(
        name=telegram.SOURCE,
        told_by=(telegram.SIGNATURE,),
        events=(),
        signature=telegram.SIGNATURE,
        check=lambda _body, given, secret: check_secret(given, secret),
        understand=telegram.understand_telegram,
    ),
)


def source_of(headers: Mapping[str, str]) -> Source | None:
    """Who sent a delivery with these headers; None for nobody that Orch knows."""
    return next((source for source in SOURCES if header(headers, *source.told_by)), None)
