"""Plane's API v1 as a tracker. What it answers was measured on Plane Community 1.3.1."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from pipeline.clients import plane_answers as answers
from pipeline.clients.http import Answer, HttpApi, HttpClient
from pipeline.clients.plane_answers import Entry
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import (
    TrackerActivity,
    TrackerComment,
    TrackerItem,
    TrackerLabel,
    TrackerMember,
    TrackerRef,
    TrackerState,
)
from pipeline.projects import Project

log = logging.getLogger("orch.plane")

Admit = Callable[[str], Awaitable[None]]
"""Awaited before each request with the voice whose token is used, "" for the shared one."""

COMMENT_SOURCE = "orch"
"""`external_source` of our comments; with the external id it is Plane's key against writing one twice."""

_PAGE = 100
_ITEMS, _ITEMS_OF_OLDER_PLANE = "work-items", "issues"
_NO_SUCH_ROUTE = "Page not found"
_NOT_LET_IN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ME = "users/me/"


class PlaneClient(HttpClient):
    """Fills `pipeline.ports.Tracker`. One connection pool; close it with `aclose`.

    Every method raises `Unavailable`, `Refused` or `Missing` as `pipeline.clients.http` says. A wrong key is a 403.
    """

    def __init__(
        self,
        base_url: str,
        workspace: str,
        token: SecretStr,
        *,
        voices: Mapping[str, SecretStr] | None = None,
        admit: Admit | None = None,
    ) -> None:
        """`base_url` is Plane's address without `/api`, `workspace` the slug in its URLs.

        `voices` are the tokens of bots that comments may be written under, by name; all else uses `token`.
        """
        self._address = f"{base_url.rstrip('/')}/api/v1/"
        self._admit = admit
        super().__init__(self._api(token, ""))
        self._voices = {name: self._api(own, name) for name, own in (voices or {}).items() if own.get_secret_value()}
        self._workspace = quote(workspace, safe="")
        self._items = _ITEMS

    def _api(self, token: SecretStr, voice: str) -> HttpApi:
        headers = {"X-API-Key": token.get_secret_value()}
        admit = partial(self._admit, voice) if self._admit else None
        return HttpApi("Plane", self._address, secret=token, headers=headers, admit=admit)

    async def aclose(self) -> None:
        """Close all connections."""
        for http in (self._http, *self._voices.values()):
            await http.aclose()

    async def states(self, project: Project) -> tuple[TrackerState, ...]:
        """All states of the project, fresh from Plane."""
        pages = self._entries(answers.Page[answers.State], f"{_folder(project)}/states/")
        return tuple([TrackerState(state.id, state.name, state.group) async for state in pages])

    async def labels(self, project: Project) -> tuple[TrackerLabel, ...]:
        """All labels of the project, fresh from Plane."""
        pages = self._entries(answers.Page[answers.Label], f"{_folder(project)}/labels/")
        return tuple([TrackerLabel(label.id, label.name) async for label in pages])

    async def item(self, project: Project, item_id: str) -> TrackerItem:
        """One issue by its id; `Missing` when it is deleted or archived."""
        answer = await self._send("GET", _item_path(project, item_id))
        return answer.read(answers.Item).as_item()

    async def item_by_key(self, project: Project, key: str) -> TrackerItem:
        """One issue by its key, case-sensitive: Plane answers 403 to `wid-1`. `Missing` when it is another project's."""
        answer, item = await self._by_key(key)
        if item.project_id != str(project.plane_project):
            raise Missing(f"{key} is not an issue of project {project.key} in Plane.", path=answer.path)
        return item

    async def key_of(self, ref: TrackerRef) -> str:
        """The key of an issue of any project that the token's user belongs to; `Missing` for any other's."""
        projects = self._entries(answers.Page[answers.ProjectName], "projects/")
        names = {entry.id: entry.identifier async for entry in projects}
        if ref.project_id not in names:
            raise Missing(f"Plane shows Orch's user no project {ref.project_id}; make it a member there.")
        answer = await self._send("GET", f"{_folder_of(ref.project_id)}/{{items}}/{quote(ref.item_id, safe='')}/")
        return f"{names[ref.project_id]}-{answer.read(answers.Item).sequence_id}"

    async def group_of(self, key: str) -> str:
        """The state group of an issue of any project that the token's user belongs to; empty for an unknown state."""
        _answer, item = await self._by_key(key)
        states = self._entries(answers.Page[answers.State], f"{_folder_of(item.project_id)}/states/")
        groups = {state.id: state.group async for state in states}
        return groups.get(item.state_id, "")

    async def _by_key(self, key: str) -> tuple[Answer, TrackerItem]:
        answer = await self._send("GET", f"{{items}}/{quote(key, safe='')}/")
        return answer, answer.read(answers.Item).as_item()

    async def items(self, project: Project, *, changed_since: datetime | None = None) -> tuple[TrackerItem, ...]:
        """Issues, latest change first, in pages of 100; no page is read past the first issue older than asked.

        Plane ignores filters by state or time without a word, so they are applied here. Comments and relations move
        `updated_at` too. An issue that changes while pages are being read may be left out; the next look has it first.
        """
        found: dict[str, TrackerItem] = {}
        async for entry in self._entries(
            answers.Page[answers.Item], f"{_folder(project)}/{{items}}/", order_by="-updated_at"
        ):
            if changed_since is not None and entry.updated_at < changed_since:
                break
            found.setdefault(entry.id, entry.as_item())  # entries that slid to the next page come twice
        return tuple(found.values())

    async def create_item(self, project: Project, *, title: str, html: str) -> TrackerItem:
        """Write a new issue in the project's default state, under the token's user. Not idempotent.

        Plane does not clean HTML: the caller escapes whatever people or agents wrote.
        """
        body = {"name": title, "description_html": html}
        answer = await self._send("POST", f"{_folder(project)}/{{items}}/", body=body)
        return answer.read(answers.Item).as_item()

    async def set_state(self, project: Project, item_id: str, state_id: str) -> None:
        """Move a card. The key is `state`: Plane ignores `state_id` and still answers 200."""
        answer = await self._send("PATCH", _item_path(project, item_id), body={"state": state_id})
        answer.checked()

    async def comment(self, project: Project, item_id: str, html: str, *, external_id: str, voice: str = "") -> None:
        """Write a comment once per `external_id` and issue, under the bot of `voice`, or the token's own user.

        A bot that Plane does not let in has its comment written by the token's own user instead. Plane does not clean
        HTML: the caller escapes whatever people or agents wrote.
        """
        # Plane compares external ids across the whole project (its source), so the issue's id is made part of ours.
        key = {"external_source": COMMENT_SOURCE, "external_id": f"{item_id}:{external_id}"}
        body, path = {"comment_html": html, **key}, f"{_item_path(project, item_id)}comments/"
        http = self._voices.get(voice, self._http)
        answer = await self._send("POST", path, http=http, body=body)
        if http is not self._http and answer.status in _NOT_LET_IN:
            log.warning("the bot of %s may not comment, so the shared one does: %s", voice, answer.message)
            answer = await self._send("POST", path, body=body)
        if answer.status != HTTPStatus.CONFLICT:  # a conflict: this external id has its comment already
            answer.checked()

    async def comments(self, project: Project, item_id: str) -> tuple[TrackerComment, ...]:
        """All comments of an issue, oldest first (Plane lists the newest first)."""
        entries = self._entries(answers.Page[answers.Comment], f"{_item_path(project, item_id)}comments/")
        found = [entry.as_comment() async for entry in entries]
        return tuple(sorted(found, key=lambda comment: comment.created_at))

    async def blocked_by(self, project: Project, item_id: str) -> tuple[TrackerRef, ...]:
        """The issues that must be done before this one, as Plane's relations say; they may be other projects'."""
        answer = await self._send("GET", f"{_item_path(project, item_id)}relations/")
        return tuple(TrackerRef(ref.project_id, ref.issue_id) for ref in answer.read(answers.Relations).blocked_by)

    async def activities(self, project: Project, item_id: str) -> tuple[TrackerActivity, ...]:
        """What was changed about an issue and by whom, oldest first; states by name. Comments are not among it."""
        entries = self._entries(answers.Page[answers.Activity], f"{_item_path(project, item_id)}activities/")
        found = [entry.as_activity() async for entry in entries]
        return tuple(sorted(found, key=lambda activity: activity.at))

    async def members(self, project: Project) -> tuple[TrackerMember, ...]:
        """Who may work on the project, bots included. Plane answers with a bare list."""
        answer = await self._send("GET", f"{_folder(project)}/members/")
        return tuple(TrackerMember(member.id, member.display_name) for member in answer.read(list[answers.Member]))

    async def own_ids(self) -> frozenset[str]:
        """Plane's user ids of the token and of every voice.

        A voice that Plane does not let in has none: it can write nothing that would have to be told apart.
        """
        ids = {(await self._http.call("GET", _ME)).read(answers.User).id}
        for voice, http in self._voices.items():
            try:
                ids.add((await http.call("GET", _ME)).read(answers.User).id)
            except Refused as error:
                log.warning("the token of the bot of %s is of no use: %s", voice, error)
        return frozenset(ids)

    async def _entries(self, shape: type[answers.Page[Entry]], path: str, **query: str) -> AsyncIterator[Entry]:
        """The entries of a paged list, page after page as they are asked for."""
        cursor = f"{_PAGE}:0:0"
        while True:
            answer = await self._send("GET", path, params={**query, "per_page": _PAGE, "cursor": cursor})
            page = answer.read(shape)
            for entry in page.results:
                yield entry
            if not page.next_page_results or not page.results or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    async def _send(self, method: str, path: str, *, http: HttpApi | None = None, **call: Any) -> Answer:
        """One call below the workspace; `{items}` in `path` stands for the word that this Plane uses for issues.

        A page instead of Plane's own 404 may be an older Plane's or a proxy's: only when Plane answers to the older word
        is it known to be an older one. Else it is `Unavailable`.
        """
        http = http or self._http
        try:
            answer = await http.send(method, self._path(path, self._items), **call)
        except Unavailable as error:
            if not self._may_be_older(path) or error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            if not self._may_be_older(path) or not _route_missing(answer):
                return answer
        older = await http.send(method, self._path(path, _ITEMS_OF_OLDER_PLANE), **call)
        if not _route_missing(older):
            self._items = _ITEMS_OF_OLDER_PLANE
        elif older.body is None:
            raise Unavailable(f"Plane does not say why it answers {method} {path} with 404.", status=404, path=path)
        return older

    def _may_be_older(self, path: str) -> bool:
        return self._items == _ITEMS and "{items}" in path

    def _path(self, path: str, items: str) -> str:
        return f"workspaces/{self._workspace}/{path.replace('{items}', items)}"


def _folder(project: Project) -> str:
    return _folder_of(str(project.plane_project))


def _folder_of(project_id: str) -> str:
    return f"projects/{quote(project_id, safe='')}"


def _item_path(project: Project, item_id: str) -> str:
    return f"{_folder(project)}/{{items}}/{quote(item_id, safe='')}/"


def _route_missing(answer: Answer) -> bool:
    """Whether Plane does not know the path at all, as against the thing named in it (its own 404 says so)."""
    return answer.status == HTTPStatus.NOT_FOUND and (answer.body is None or answer.message == _NO_SUCH_ROUTE)
