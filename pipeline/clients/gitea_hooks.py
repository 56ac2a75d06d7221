"""Webhooks that tell Orch: looked at, made, and made anew where one does not tell what it should.

From Gitea's source, 1.18 to 1.25: changing a hook (PATCH) leaves its secret as it was, whatever is sent, and the secret
is never told. So a hook whose secret must be ours is made anew: the new one first, so that no event falls in between;
what both tell is dropped by its content.
"""

from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus

from pydantic import BaseModel, SecretStr

from pipeline.clients.gitea_answers import pages
from pipeline.clients.http import Answer, HttpApi
from pipeline.model import Subscription

EVENTS = ("push", "pull_request_only", "pull_request_review", "status")
"""What Orch is told of. `pull_request` would bring labels, comments and all that, which Gitea sends one after another."""

_TOLD: Mapping[str, tuple[frozenset[str], ...]] = {
    "pull_request_only": (frozenset({"pull_request"}),),
    "pull_request_review": (
        frozenset({"pull_request_review"}),
        frozenset({"pull_request_review_approved", "pull_request_review_rejected"}),
    ),
}
"""How a hook lists what was asked for under another name; up to 1.23 each kind of review is listed by itself."""

_STATUS_SINCE = (1, 23)
"""Gitea before this version knows no `status` event and drops it from what is asked for."""


class _Config(BaseModel):
    url: str = ""
    content_type: str = ""


class _Hook(BaseModel):
    id: int
    type: str
    config: _Config
    events: list[str] | None = None
    active: bool
    branch_filter: str = ""


class _Version(BaseModel):
    version: str


async def hook_state(http: HttpApi, repository: str, url: str, events: Collection[str]) -> Subscription | None:
    """See `GiteaClient.hook_state`; `repository` is the path of the repository."""
    found = await _telling(http, repository, url)
    if not found:
        return None
    faults = await _faults(http, found[0], events)
    if len(found) > 1:
        faults = (*faults, f"there are {len(found)} of it")
    return Subscription(found[0].id, url, faults)


async def ensure_hook(
    http: HttpApi, repository: str, url: str, secret: SecretStr, events: Collection[str]
) -> Subscription:
    """See `GiteaClient.ensure_hook`."""
    old = await _telling(http, repository, url)
    config = {"url": url, "content_type": "json", "secret": secret.get_secret_value()}
    wanted = {"type": "gitea", "active": True, "branch_filter": "", "config": config, "events": list(events)}
    made = (await http.call("POST", f"{repository}/hooks", body=wanted)).read(_Hook)
    for hook in old:
        answer = await http.send("DELETE", f"{repository}/hooks/{hook.id}")
        if answer.status != HTTPStatus.NOT_FOUND:  # somebody else was faster
            answer.checked()
    return Subscription(made.id, url, await _faults(http, made, events))


async def _telling(http: HttpApi, repository: str, url: str) -> list[_Hook]:
    """The repository's hooks that tell `url`, in Gitea's own format; those of chats have other types."""
    found = [hook async for hook in pages(http, f"{repository}/hooks", _hooks)]
    return [hook for hook in found if hook.type == "gitea" and _same(hook.config.url, url)]


def _hooks(answer: Answer) -> list[_Hook]:
    return answer.read(list[_Hook])


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")


async def _faults(http: HttpApi, hook: _Hook, events: Collection[str]) -> tuple[str, ...]:
    faults = []
    if not hook.active:
        faults.append("it is switched off")
    if hook.config.content_type != "json":
        faults.append(f"it sends {hook.config.content_type or 'something'} instead of json")
    if hook.branch_filter not in ("", "*"):
        faults.append(f"it tells only of branches like {hook.branch_filter}")
    missing = _missing(hook.events or (), events)
    if "status" in missing and not await _knows_status(http):
        missing.remove("status")
    if missing:
        faults.append(f"it does not tell of {', '.join(missing)}")
    return tuple(faults)


def _missing(listed: Iterable[str], wanted: Iterable[str]) -> list[str]:
    has = frozenset(listed)
    return [event for event in wanted if not any(told <= has for told in _TOLD.get(event, (frozenset({event}),)))]


async def _knows_status(http: HttpApi) -> bool:
    told = (await http.call("GET", "version")).read(_Version).version
    major, _, rest = told.partition(".")
    minor = rest.partition(".")[0]
    return not (major.isdecimal() and minor.isdecimal()) or (int(major), int(minor)) >= _STATUS_SINCE
