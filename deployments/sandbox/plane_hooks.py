"""Plane's webhooks: what is sent, how it is signed, and how often it is tried, as measured on Plane CE 1.3.1."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

from deployments.sandbox import plane_payloads as payloads
from deployments.sandbox.core import Core
from deployments.sandbox.plane_payloads import Json
from deployments.sandbox.plane_state import Card, PlaneComment, PlaneProject, PlaneWebhook
from deployments.sandbox.webhooks import Delivery, delivery_id


class PlaneHooks:
    """Sends what happens in the workspace, all projects alike, to its webhooks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._world = core.world.plane

    def card(self, action: str, project: PlaneProject, card: Card, activity: Json) -> None:
        """Tell of a card; its data is read when the delivery is sent, so it may already be later than the change."""
        self._announce("issue", action, lambda: payloads.hook_issue(self._world, project, card), activity)

    def comment(self, action: str, project: PlaneProject, comment: PlaneComment, activity: Json) -> None:
        """Tell of a comment."""

        def data() -> Json:
            return payloads.comment(self._world, comment, project=project.id)

        self._announce("issue_comment", action, data, activity)

    def _announce(self, event: str, action: str, data: Callable[[], Json], activity: Json) -> None:
        self._core.changed()
        for hook in self._world.webhooks:
            if hook.active:
                self._core.webhooks.send(self._delivery(hook, event, action, data, activity))

    def _delivery(
        self, hook: PlaneWebhook, event: str, action: str, data: Callable[[], Json], activity: Json
    ) -> Delivery:
        def body() -> bytes:
            envelope = {"event": event, "action": action, "webhook_id": hook.id}
            envelope |= {"workspace_id": self._world.workspace_id}
            return json.dumps(envelope | {"data": data(), "activity": activity}).encode()

        def headers(raw: bytes) -> Mapping[str, str]:
            return {
                "User-Agent": "Autopilot",
                "Content-Type": "application/json",
                "X-Plane-Delivery": delivery_id(),
                "X-Plane-Event": event,
                "X-Plane-Signature": hmac.new(hook.secret.encode(), raw, hashlib.sha256).hexdigest(),
            }

        def gave_up() -> None:
            hook.active = not self._core.options.plane_gives_up
            self._core.changed()

        delays = self._core.options.plane_retry_delays_s
        return Delivery("plane", f"{event}.{action}", hook.url, body, headers, delays, gave_up)
