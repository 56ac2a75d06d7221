"""Plane's API v1 as a tracker. What it answers was measured on Plane Community 1.3.1."""

from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, SecretStr

from pipeline.clients.http import Answer, HttpApi, HttpClient
from pipeline.errors import Missing
from pipeline.model import TrackerComment, TrackerItem, TrackerLabel, TrackerLink, TrackerState
from pipeline.plain_text import html_to_text
from pipeline.projects import Project

COMMENT_SOURCE = "orch"
"""`external_source` of our comments; with the external id it is Plane's key against writing one twice."""

_PAGE = 100
_ITEMS, _ITEMS_OF_OLDER_PLANE = "work-items", "issues"
_NO_SUCH_ROUTE = "Page not found"

Entry = TypeVar("Entry", bound=BaseModel)


class _State(BaseModel):
    id: str
    name: str
    group: str


class _Item(BaseModel):
    id: str
    project: str
    sequence_id: int
    name: str
    state: str
    updated_at: AwareDatetime
    description_html: str | None = None
    description_stripped: str | None = None
    labels: list[str] = []
    priority: str | None = None

    def as_item(self) -> TrackerItem:
        """As Orch's word."""
        description = self.description_stripped or ""
        return TrackerItem(
            id=self.id,
            project_id=self.project,
            sequence_id=self.sequence_id,
            title=self.name,
            description=description if self.description_html is None else html_to_text(self.description_html),
            state_id=self.state,
            updated_at=self.updated_at,
            labels=tuple(self.labels),
            priority=self.priority or "none",
        )


class _Label(BaseModel):
    id: str
    name: str


class _Comment(BaseModel):
    id: str
    actor: str | None = None
    comment_html: str
    created_at: AwareDatetime

    def as_comment(self) -> TrackerComment:
        """As Orch's word."""
        return TrackerComment(self.id, self.actor or "", html_to_text(self.comment_html), self.created_at)


class _Link(BaseModel):
    project_id: str
    issue_id: str


class _Relations(BaseModel):
    blocked_by: list[_Link] = []


class _Page(BaseModel, Generic[Entry]):
    results: list[Entry]
    next_cursor: str = ""
    next_page_results: bool = False


class _User(BaseModel):
    id: str


class PlaneClient(HttpClient):
    """Fills `pipeline.ports.Tracker`. One connection pool; close it with `aclose`.

    Every method raises `Unavailable`, `Refused` or `Missing` as `pipeline.clients.http` says. A wrong key is a 403.
    """

    def __init__(self, base_url: str, workspace: str, token: SecretStr) -> None:
        """`base_url` is Plane's address without `/api`, `workspace` the slug in its URLs."""
        address = f"{base_url.rstrip('/')}/api/v1/"
        super().__init__(HttpApi("Plane", address, secret=token, headers={"X-API-Key": token.get_secret_value()}))
        self._workspace = quote(workspace, safe="")
        self._items = _ITEMS

    async def states(self, project: Project) -> tuple[TrackerState, ...]:
        """All states of the project, fresh from Plane."""
        pages = self._entries(_Page[_State], f"{_folder(project)}/states/")
        return tuple([TrackerState(state.id, state.name, state.group) async for state in pages])

    async def labels(self, project: Project) -> tuple[TrackerLabel, ...]:
        """All labels of the project, fresh from Plane."""
        pages = self._entries(_Page[_Label], f"{_folder(project)}/labels/")
        return tuple([TrackerLabel(label.id, label.name) async for label in pages])

    async def item(self, project: Project, item_id: str) -> TrackerItem:
        """One issue by its id; `Missing` when it is deleted or archived."""
        answer = await self._send("GET", _item_path(project, item_id))
        return answer.read(_Item).as_item()

    async def item_by_key(self, project: Project, key: str) -> TrackerItem:
        """One issue by its key, case-sensitive: Plane answers 403 to `wid-1`. `Missing` when it is another project's."""
        answer = await self._send("GET", f"{{items}}/{quote(key, safe='')}/")
        item = answer.read(_Item).as_item()
        if item.project_id != str(project.plane_project):
            raise Missing(f"{key} is not an issue of project {project.key} in Plane.", path=answer.path)
        return item

    async def items(self, project: Project, *, changed_since: datetime | None = None) -> tuple[TrackerItem, ...]:
        """Issues, latest change first, in pages of 100; no page is read past the first issue older than asked.

        Plane ignores filters by state or time without a word, so they are applied here. Comments and relations move
        `updated_at` too. An issue that changes while pages are being read may be left out; the next look has it first.
        """
        found: dict[str, TrackerItem] = {}
        async for entry in self._entries(_Page[_Item], f"{_folder(project)}/{{items}}/", order_by="-updated_at"):
            if changed_since is not None and entry.updated_at < changed_since:
                break
            found.setdefault(entry.id, entry.as_item())  # entries that slid to the next page come twice
        return tuple(found.values())

    async def blockers(self, project: Project, item_id: str) -> tuple[TrackerLink, ...]:
        """What the issue is blocked by. No webhook tells of a change, but it moves the issue's `updated_at`."""
        answer = await self._send("GET", f"{_item_path(project, item_id)}relations/")
        return tuple(TrackerLink(link.project_id, link.issue_id) for link in answer.read(_Relations).blocked_by)

    async def create_item(self, project: Project, *, title: str, html: str) -> TrackerItem:
        """Write a new issue in the project's default state, under the token's user. Not idempotent.

        Plane does not clean HTML: the caller escapes whatever people or agents wrote.
        """
        body = {"name": title, "description_html": html}
        answer = await self._send("POST", f"{_folder(project)}/{{items}}/", body=body)
        return answer.read(_Item).as_item()

    async def set_state(self, project: Project, item_id: str, state_id: str) -> None:
        """Move a card. The key is `state`: Plane ignores `state_id` and still answers 200."""
        answer = await self._send("PATCH", _item_path(project, item_id), body={"state": state_id})
        answer.checked()

    async def comment(self, project: Project, item_id: str, html: str, *, external_id: str) -> None:
        """Write a comment once per `external_id` and issue, under the token's user.

        Plane does not clean HTML: the caller escapes whatever people or agents wrote.
        """
        # Plane compares external ids across the whole project (its source), so the issue's id is made part of ours.
        key = {"external_source": COMMENT_SOURCE, "external_id": f"{item_id}:{external_id}"}
        body = {"comment_html": html, **key}
        answer = await self._send("POST", f"{_item_path(project, item_id)}comments/", body=body)
        if answer.status != HTTPStatus.CONFLICT:  # a conflict: this external id has its comment already
            answer.checked()

    async def comments(self, project: Project, item_id: str) -> tuple[TrackerComment, ...]:
        """All comments of an issue, oldest first (Plane lists the newest first)."""
        entries = self._entries(_Page[_Comment], f"{_item_path(project, item_id)}comments/")
        found = [entry.as_comment() async for entry in entries]
        return tuple(sorted(found, key=lambda comment: comment.created_at))

    async def own_id(self) -> str:
        """Plane's user id of the token."""
        return (await self._http.call("GET", "users/me/")).read(_User).id

    async def _entries(self, shape: type[_Page[Entry]], path: str, **query: str) -> AsyncIterator[Entry]:
        """The entries of a paged list, page after page as they are asked for."""
        cursor = f"{_PAGE}:0:0"
        while True:
            answer = await self._send("GET", path, params={**query, "per_page": _PAGE, "cursor": cursor})
            page = answer.read(shape)
            for entry in page.results:
                yield entry
            if not page.next_page_results or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    async def _send(self, method: str, path: str, **call: Any) -> Answer:
        """One call below the workspace; `{items}` in `path` stands for the word that this Plane uses for issues."""
        answer = await self._http.send(method, self._path(path, self._items), **call)
        if self._items != _ITEMS or "{items}" not in path or not _route_missing(answer):
            return answer
        older = await self._http.send(method, self._path(path, _ITEMS_OF_OLDER_PLANE), **call)
        if not _route_missing(older):
            self._items = _ITEMS_OF_OLDER_PLANE
        return older

    def _path(self, path: str, items: str) -> str:
        return f"workspaces/{self._workspace}/{path.replace('{items}', items)}"


def _folder(project: Project) -> str:
    return f"projects/{project.plane_project}"


def _item_path(project: Project, item_id: str) -> str:
    return f"{_folder(project)}/{{items}}/{quote(item_id, safe='')}/"


def _route_missing(answer: Answer) -> bool:
    """Whether Plane does not know the path at all, as against the thing named in it (its own 404 says so)."""
    return answer.status == HTTPStatus.NOT_FOUND and (answer.body is None or answer.message == _NO_SUCH_ROUTE)
