"""Gitea's webhooks: which hook wants what, the headers, and the signatures, as measured on Gitea 1.21."""

import hmac
import json
from collections.abc import Iterable, Mapping

from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.gitea_payloads import Json
from deployments.sandbox.gitea_pull_payloads import GiteaPayloads
from deployments.sandbox.gitea_state import Hook, Repository
from deployments.sandbox.webhooks import Delivery, delivery_id

PULL_PARTS: Mapping[str, tuple[str, ...]] = {
    "pull_request_only": ("pull_request",),
    "pull_request_assign": ("pull_request_assign",),
    "pull_request_label": ("pull_request_label",),
    "pull_request_milestone": ("pull_request_milestone",),
    "pull_request_comment": ("pull_request_comment",),
    "pull_request_review": (
        "pull_request_review_approved",
        "pull_request_review_rejected",
        "pull_request_review_comment",
    ),
    "pull_request_sync": ("pull_request_sync",),
    "pull_request_review_request": ("pull_request_review_request",),
}
"""What a pull request subscription means; `pull_request` means all of them (Gitea's source, 1.18 to 1.25).

The three kinds of review cannot be had one by one: a subscription to `pull_request_review_approved` alone is ignored.
"""

ISSUE_PARTS = ("issues", "issue_assign", "issue_label", "issue_milestone", "issue_comment")
PLAIN = ("create", "delete", "fork", "push", "wiki", "repository", "release")

EVENT_OF_TYPE: Mapping[str, str] = {
    "pull_request_sync": "pull_request",
    "pull_request_comment": "issue_comment",
    "pull_request_review_approved": "pull_request_approved",
    "pull_request_review_rejected": "pull_request_rejected",
    "pull_request_review_comment": "pull_request_comment",
    "status": "",
}
"""The coarse `X-Gitea-Event` of a finer event type, where the two differ."""


def subscribed(wanted: Iterable[str], *, status_known: bool) -> list[str]:
    """The event types that a list of wanted events stands for; unknown ones are dropped without a word."""
    asked = set(wanted) or {"push"}
    events = [name for name in PLAIN if name in asked]
    events += [
        name for name in ISSUE_PARTS if asked & {name, "issues"} or (name == "issues" and "issues_only" in asked)
    ]
    for part, types in PULL_PARTS.items():
        if asked & {part, "pull_request"}:
            events += types
    if status_known and "status" in asked:
        events.append("status")
    return events


class GiteaHooks:
    """Sends what happens in a repository to its webhooks. Never retried, whatever the answer."""

    def __init__(self, core: Core, payloads: GiteaPayloads) -> None:
        self._core = core
        self._payloads = payloads

    def put(self, repository: Repository, hook: Hook | None, fields: Mapping[str, object]) -> Hook:
        """Make a webhook, or change the given one, from an API request's fields."""
        config = fields.get("config")
        config = config if isinstance(config, dict) else {}
        if hook is None:
            number = self._core.world.gitea.next_id()
            hook = Hook(id=number, url=str(config["url"]), secret="", events=[], active=bool(fields.get("active")))
            repository.hooks.append(hook)
        hook.url = str(config.get("url", hook.url))
        hook.secret = str(config.get("secret", hook.secret))
        hook.content_type = str(config.get("content_type", hook.content_type))
        hook.active = bool(fields.get("active", hook.active))
        hook.branch_filter = str(fields.get("branch_filter", hook.branch_filter))
        wanted = fields.get("events")
        if isinstance(wanted, list) or not hook.events:
            names = wanted if isinstance(wanted, list) else []
            hook.events = subscribed(names, status_known=self._core.options.gitea_at_least(1, 23))
        hook.updated_at = now()
        self._core.changed()
        return hook

    def announce(self, repository: Repository, event_type: str, sender: str, body: Json) -> None:
        """Send one event to every active hook that subscribed to it; repository and sender are added."""
        self._core.changed()
        full = self._full(repository, sender, body)
        for hook in repository.hooks:
            if hook.active and event_type in hook.events:
                self._core.webhooks.send(_delivery(hook, event_type, full))

    def test(self, repository: Repository, hook: Hook, sender: str, body: Json) -> None:
        """Send a push to this one hook, whatever it subscribed to."""
        self._core.webhooks.send(_delivery(hook, "push", self._full(repository, sender, body)))

    def _full(self, repository: Repository, sender: str, body: Json) -> Json:
        return body | {
            "repository": self._payloads.repository(repository, writer=True),
            "sender": self._payloads.user(sender),
        }


def _delivery(hook: Hook, event_type: str, body: Json) -> Delivery:
    number = delivery_id()

    def raw() -> bytes:
        return json.dumps(body, indent=2, ensure_ascii=False).encode()

    return Delivery("gitea", event_type, hook.url, raw, lambda sent: headers(hook, event_type, number, sent))


def headers(hook: Hook, event_type: str, number: str, body: bytes) -> dict[str, str]:
    """All headers of a delivery; without a secret the signatures are there and empty."""
    event = EVENT_OF_TYPE.get(event_type, event_type)
    made = {"User-Agent": "Go-http-client/1.1", "Content-Type": "application/json"}
    for vendor in ("GitHub", "Gitea", "Gogs"):
        made |= {f"X-{vendor}-Delivery": number, f"X-{vendor}-Event": event, f"X-{vendor}-Event-Type": event_type}
    sha256, sha1 = (_sign(hook.secret, body, name) for name in ("sha256", "sha1"))
    made |= {"X-Gitea-Signature": sha256, "X-Gogs-Signature": sha256}
    return made | {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": f"sha256={sha256}"}


def _sign(secret: str, body: bytes, algorithm: str) -> str:
    return hmac.new(secret.encode(), body, algorithm).hexdigest() if secret else ""
