"""`GET /`: how everything stands, for people. One page without scripts, made from the store when somebody asks.

What is on it is on `/queue`, besides links; everything is escaped, and the page may load nothing from anywhere.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prefect.utilities.urls import url_for
from sqlmodel import Session

from deployments.receiver.queue_view import auto_labels, limits, told_of
from pipeline.model import WorkItem
from pipeline.store import counters, deliveries, freezes, heartbeats, inbox, items, leases, outbox, set_aside, waits
from tasks import links
from tasks.services import Services

REFRESH_S = 15
"""Seconds after which a browser asks again."""

FRESH_S = 3.0
"""Seconds for which a page is given to everybody who asks: many who look cost no more than one."""

SHOWN = 50
"""Items of one project that are shown; those that are held come first."""


class StatusPage:
    """The page, kept for a moment: one for people at this machine, whose links may lead to it, and one for others."""

    def __init__(self, root: Services) -> None:
        self._root = root
        self._made: dict[bool, tuple[float, str]] = {}
        self._making = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """The page for whoever asks."""
        near = links.is_this_machine((request.url.hostname or "").rstrip("."))
        return HTMLResponse(await self._page(near), headers=HEADERS)

    async def _page(self, near: bool) -> str:
        async with self._making:
            clock = asyncio.get_running_loop().time()
            made, page = self._made.get(near, (-FRESH_S, ""))
            if clock - made >= FRESH_S:
                page = await self._root.store.aread(_rendered, self._root, near)
                self._made[near] = clock, page
            return page


def _rendered(session: Session, root: Services, near: bool) -> str:
    return _TEMPLATE.render(refresh_s=REFRESH_S, **status_view(session, root, near=near))


def status_view(session: Session, root: Services, *, near: bool) -> dict[str, Any]:
    """What the page shows; `near` tells that whoever looks sits at this machine."""
    now, last = root.now(), heartbeats.last(session, heartbeats.TICK)
    by_project: dict[str, list[WorkItem]] = {key: [] for key in root.projects}
    for item in items.live(session):
        by_project.setdefault(item.project, []).append(item)
    return {
        "now": now,
        "stand": root.settings.stand,
        "last_tick": last,
        "late": last is None or now - last > heartbeats.TICKS_LATE,
        "held": sum(item.hold is not None for found in by_project.values() for item in found),
        "projects": [_project(session, root, key, found, near) for key, found in by_project.items()],
        "freezes": [freeze.sentence for freeze in freezes.all_of_them(session)],
        "set_aside": [aside.sentence for aside in set_aside.all_of_them(session)],
        "limits": limits(session, root),
        "labels": auto_labels(session, root),
        "counted": {
            "signals that nobody has applied yet": len(inbox.unconsumed(session)),
            "webhooks that are not understood yet": len(deliveries.pending(session)),
            "events, comments and messages to be sent": outbox.unsent(session),
            **{name.removesuffix("_total").replace("_", " "): n for name, n in counters.totals(session).items()},
        },
    }


def _project(session: Session, root: Services, key: str, found: Iterable[WorkItem], near: bool) -> dict[str, Any]:
    pressing = sorted(found, key=lambda item: item.hold is None)
    project = root.projects.get(key)
    return {
        "key": key,
        "repository": project.repository if project else "not in the registry any more",
        "cards": [_card(session, root, item, near) for item in pressing[:SHOWN]],
        "more": max(0, len(pressing) - SHOWN),
    }


def _card(session: Session, root: Services, item: WorkItem, near: bool) -> dict[str, Any]:
    told, project = told_of(session, item, root), root.projects.get(item.project)
    return {
        "key": item.key,
        "title": item.title,
        "stage": item.stage.value,
        "visit": item.visit,
        "hold": item.hold.value if item.hold else "",
        "stopping": item.cancel_requested_at is not None,
        "waits_for": told["waits_for"],
        "since": datetime.fromisoformat(told["since"]),
        "moved_by": told["moved_by"],
        "then": told["then"],
        "card": links.issue(root.settings, item, near=near),
        "pull": links.pull(root.settings, project.repository, item, near=near) if project else "",
        "pull_number": item.pull_number,
        "run": _run(session, item, near),
    }


def _run(session: Session, item: WorkItem, near: bool) -> str:
    """The address of the run that owns the item, or that it waits in; empty without one."""
    owner, wait = leases.owner(session, item.id), waits.open_wait(session, item.id)
    run = owner.flow_run_id if owner is not None else wait.flow_run_id if wait is not None else None
    return links.opened(url_for("flow-run", obj_id=run) or "", near=near) if run else ""


def _moment(at: datetime | str) -> str:
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _age(since: datetime, now: datetime) -> str:
    """How long ago, in the unit that says most."""
    seconds = max(0.0, (now - since).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "just now"


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"moment": _moment, "age": _age}
_TEMPLATE = _TEMPLATES.get_template("status.html")

_STYLE = base64.b64encode(hashlib.sha256(_TEMPLATES.get_template("status.css").render().encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""The page's own style sheet, by its digest, is all that a browser may apply; nothing is loaded, run or framed."""
