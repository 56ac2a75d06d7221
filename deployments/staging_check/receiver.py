"""The running Orch's receiver, asked as an outside system would ask it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from deployments.staging_check.staging import Card, Staging
from pipeline.errors import Refused, Unavailable
from pipeline.inbound.signature import sign
from pipeline.model import TrackerState

TIMEOUT_S = 5
SENDER = "orch-staging-check"
"""Who deliveries of moved cards say that the person was. Orch takes no notice of moves by its own user."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One of the receiver's two webhooks, with a delivery from which nothing follows."""

    source: str
    signed_in: str
    setting: str
    headers: Mapping[str, str]
    body: bytes

    def secret(self, staging: Staging) -> str:
        """The secret as this command's settings have it."""
        return str(getattr(staging.settings, self.setting).get_secret_value())


PLANE = Webhook(
    "plane",
    "X-Plane-Signature",
    "plane_webhook_secret",
    {},
    json.dumps({"event": "issue", "action": "updated", "activity": {"field": "staging_check"}}).encode(),
)
GITEA = Webhook("gitea", "X-Gitea-Signature", "gitea_webhook_secret", {"X-Gitea-Event-Type": "staging_check"}, b"{}")
WEBHOOKS = (PLANE, GITEA)


async def ask(
    staging: Staging, method: str, path: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """One request to the receiver. Raises `Unavailable` when it does not answer."""
    url = f"http://{staging.settings.host}:{staging.settings.port}{path}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client:
            return await client.request(method, url, content=content, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"The receiver does not answer at {url} ({type(error).__name__}): start `orch up`, or correct ORCH_HOST and"
            " ORCH_PORT here."
        ) from error


async def send(staging: Staging, hook: Webhook, signature: str, body: bytes | None = None) -> httpx.Response:
    """Deliver `body` (by default what nothing follows from) with this signature; without one when it is empty."""
    headers = {"Content-Type": "application/json", **hook.headers}
    if signature:
        headers[hook.signed_in] = signature
    return await ask(staging, "POST", f"/webhooks/{hook.source}", content=body or hook.body, headers=headers)


async def send_signed(staging: Staging, hook: Webhook, body: bytes | None = None) -> None:
    """Deliver with the signature that the settings' secret makes. Raises `Refused` when that is not accepted."""
    answer = await send(staging, hook, sign(body or hook.body, hook.secret(staging)), body)
    if not answer.is_success:
        raise Refused(
            f"The receiver answers {answer.status_code} to a delivery that is signed with ORCH_{hook.setting.upper()}"
            f" ({said(answer)}): set the same secret here and for the running `orch up`.",
            status=answer.status_code,
        )


async def tell_moved(staging: Staging, card: Card, state: TrackerState) -> None:
    """Deliver what Plane delivers when a person has moved the card to `state`. Raises `Refused` or `Unavailable`.

    Plane's own delivery of that move is ignored, for Orch's own user made it.
    """
    await send_signed(staging, PLANE, moved(card, state))


def moved(card: Card, state: TrackerState) -> bytes:
    """The body of Plane's delivery about a moved card, as far as Orch reads it."""
    data = {
        "id": card.item.id,
        "project": str(card.project.plane_project),
        "sequence_id": card.item.sequence_id,
        "name": card.item.title,
        "state": {"id": state.id, "name": state.name, "group": state.group},
    }
    activity = {"field": "state_id", "new_value": state.id, "actor": {"id": SENDER, "display_name": SENDER}}
    return json.dumps({"event": "issue", "action": "updated", "data": data, "activity": activity}).encode()


def said(answer: httpx.Response) -> str:
    """What the receiver said besides the status, on one line."""
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    text = str(body.get("message", body)) if isinstance(body, dict) else str(body)
    return " ".join(text.split())[:200].rstrip(".")
