"""Plane's public API v1 over HTTP, with its errors and oddities as measured on Plane CE 1.3.1."""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deployments.sandbox import plane_payloads as payloads
from deployments.sandbox.core import Core
from deployments.sandbox.plane import MISSING, NOT_ALLOWED, Plane, PlaneError
from deployments.sandbox.plane_payloads import Json
from deployments.sandbox.plane_state import Card, PlaneProject, PlaneUser

PAGE = 1000
"""Items on a page unless `per_page` says otherwise (measured on Plane CE 1.3: cursor `1000:1:0`)."""

RELATIONS = (
    "blocking",
    "blocked_by",
    "duplicate",
    "relates_to",
    "start_after",
    "start_before",
    "finish_after",
    "finish_before",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed authentication."""

    request: Request
    user: PlaneUser
    fields: Json

    def param(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Call], Response]


class PlaneApi:
    """The routes below `/plane`."""

    def __init__(self, core: Core, plane: Plane) -> None:
        self._core = core
        self._plane = plane
        self._seen: dict[str, deque[float]] = {}

    def routes(self) -> list[Route]:
        """All routes, relative to `/plane`."""
        workspace = f"/api/v1/workspaces/{self._core.options.workspace}"
        project = workspace + "/projects/{project}"
        routes = [
            self._route("/api/v1/users/me/", GET=self._me),
            self._route(workspace + "/projects/", GET=self._projects),
            self._route(workspace + "/work-items/{key}/", GET=self._by_key),
            self._route(project + "/states/", GET=self._states),
            self._route(project + "/labels/", GET=self._labels),
            self._route(project + "/members/", GET=self._members),
        ]
        for items in (project + "/work-items", project + "/issues"):
            item = items + "/{item}"
            routes += [
                self._route(items + "/", GET=self._list, POST=self._create),
                self._route(item + "/", GET=self._get, PATCH=self._patch, DELETE=self._delete),
                self._route(item + "/comments/", GET=self._comments, POST=self._comment),
                self._route(item + "/comments/{comment}/", GET=self._get_comment, PATCH=self._edit_comment),
                self._route(item + "/activities/", GET=self._activities),
                self._route(item + "/relations/", GET=self._relations, POST=self._relate),
            ]
        return [*routes, Route("/{path:path}", _elsewhere, methods=["GET", "POST", "PATCH", "PUT", "DELETE"])]

    # --- authentication, rate limit, errors ---

    def _route(self, path: str, **handlers: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                call = await self._authenticate(request)
                return handlers[request.method](call)
            except PlaneError as error:
                return JSONResponse(error.body, error.status, headers=_retry_after(error))

        return Route(path, endpoint, methods=list(handlers))

    async def _authenticate(self, request: Request) -> Call:
        key = request.headers.get("x-api-key")
        if not key:
            raise PlaneError(401, {"detail": "Authentication credentials were not provided."})
        user = self._plane.user_of_token(key)
        if user is None:
            raise PlaneError(403, {"detail": "Given API token is not valid"})
        self._count(key)
        return Call(request, user, await _fields(request))

    def _count(self, key: str) -> None:
        limit = self._plane.world.rate_limit
        if limit is None:
            return
        seen, moment = self._seen.setdefault(key, deque()), time.monotonic()
        while seen and seen[0] < moment - 60:
            seen.popleft()
        if len(seen) >= limit:
            raise PlaneError(429, {"error_code": 5900, "error_message": "RATE_LIMIT_EXCEEDED"})
        seen.append(moment)

    def _project(self, call: Call) -> PlaneProject:
        project = self._plane.project(call.param("project"))
        if call.user.id not in project.members:
            raise NOT_ALLOWED
        return project

    def _card(self, call: Call) -> Card:
        project, card = self._project(call), self._plane.card(call.param("item"))
        if card.project != project.id:
            raise MISSING
        return card

    # --- handlers ---

    def _me(self, call: Call) -> Response:
        return JSONResponse(payloads.user(call.user))

    def _projects(self, call: Call) -> Response:
        mine = [one for one in self._plane.world.projects if call.user.id in one.members]
        return _paged(call, [{"id": one.id, "identifier": one.identifier, "name": one.name} for one in mine])

    def _states(self, call: Call) -> Response:
        project = self._project(call)
        return _paged(call, [payloads.state(self._plane.world, project, one) for one in project.states])

    def _labels(self, call: Call) -> Response:
        project = self._project(call)
        return _paged(call, [payloads.label(self._plane.world, project, one) for one in project.labels[::-1]])

    def _members(self, call: Call) -> Response:
        members = self._project(call).members
        return JSONResponse([payloads.user(one) for one in self._plane.world.users if one.id in members])

    def _list(self, call: Call) -> Response:
        project = self._project(call)
        cards = [c for c in self._plane.world.cards if c.project == project.id and c.archived_at is None]
        order = call.request.query_params.get("order_by", "-created_at")
        field = order.lstrip("-")
        if field not in ("created_at", "updated_at", "sequence_id", "name", "sort_order"):
            field = "created_at"
        cards.sort(key=lambda card: getattr(card, field), reverse=order.startswith("-"))
        return _paged(call, [self._item(call, card) for card in cards])

    def _item(self, call: Call, card: Card) -> Json:
        expand = frozenset(call.request.query_params.get("expand", "").split(","))
        return payloads.work_item(self._plane.world, self._plane.project(card.project), card, expand)

    def _get(self, call: Call) -> Response:
        return JSONResponse(self._item(call, self._card(call)))

    def _by_key(self, call: Call) -> Response:
        key = call.param("key")
        if all(one.identifier != key.rpartition("-")[0] for one in self._plane.world.projects):
            # Nobody is a member of a project that is not there; case counts (measured: 403, not 404).
            raise NOT_ALLOWED
        card = self._plane.card_by_key(key)
        if call.user.id not in self._plane.project(card.project).members:
            raise NOT_ALLOWED
        return JSONResponse(self._item(call, card))

    def _create(self, call: Call) -> Response:
        card = self._plane.create_card(self._project(call), call.fields, call.user)
        return JSONResponse(self._item(call, card), 201)

    def _patch(self, call: Call) -> Response:
        card = self._card(call)
        self._plane.update_card(card, call.fields, call.user)
        return JSONResponse(self._item(call, card))

    def _delete(self, call: Call) -> Response:
        self._plane.delete_card(self._card(call))
        return Response(status_code=204)

    def _comments(self, call: Call) -> Response:
        card = self._card(call)
        newest_first = self._plane.comments_of(card)[::-1]
        world = self._plane.world
        return _paged(call, [payloads.comment(world, one, project=card.project, listed=True) for one in newest_first])

    def _comment(self, call: Call) -> Response:
        card = self._card(call)
        comment = self._plane.add_comment(card, call.fields, call.user)
        return JSONResponse(payloads.comment(self._plane.world, comment, project=card.project), 201)

    def _get_comment(self, call: Call) -> Response:
        card = self._card(call)
        for one in self._plane.comments_of(card):
            if one.id == call.param("comment"):
                return JSONResponse(payloads.comment(self._plane.world, one, project=card.project))
        raise MISSING

    def _edit_comment(self, call: Call) -> Response:
        card = self._card(call)
        for one in self._plane.comments_of(card):
            if one.id == call.param("comment"):
                self._plane.edit_comment(one, str(call.fields.get("comment_html", one.comment_html)), call.user)
                return JSONResponse(payloads.comment(self._plane.world, one, project=card.project))
        raise MISSING

    def _activities(self, call: Call) -> Response:
        card, world = self._card(call), self._plane.world
        mine = [one for one in world.activities if one.card == card.id]
        return _paged(call, [payloads.logged(world, one, project=card.project) for one in mine])

    def _relations(self, call: Call) -> Response:
        return JSONResponse(self._relations_of(self._card(call)))

    def _relations_of(self, card: Card) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = {name: [] for name in RELATIONS}
        for other in self._plane.world.cards:
            entry: Json = {"project_id": other.project, "issue_id": other.id}
            if other.id in card.blocked_by:
                found["blocked_by"].append(entry)
            if card.id in other.blocked_by:
                found["blocking"].append(entry)
        return found

    def _relate(self, call: Call) -> Response:
        card, kind, ids = self._card(call), call.fields.get("relation_type"), call.fields.get("issues")
        if kind not in ("blocked_by", "blocking") or not isinstance(ids, list):
            raise PlaneError(400, {"error": "The sandbox knows the relations blocked_by and blocking only."})
        others = [self._plane.card(str(one)) for one in ids]
        if kind == "blocked_by":
            self._plane.block(card, others)
        else:
            for other in others:
                self._plane.block(other, [card])
        return JSONResponse(self._relations_of(card), 201)


async def _fields(request: Request) -> Json:
    raw = await request.body()
    if not raw:
        return {}
    try:
        fields = json.loads(raw)
    except ValueError as error:
        raise PlaneError(400, {"detail": f"JSON parse error - {error}"}) from error
    if not isinstance(fields, dict):
        raise PlaneError(400, {"non_field_errors": ["Invalid data. Expected a dictionary."]})
    return fields


def _retry_after(error: PlaneError) -> dict[str, str]:
    return {"Retry-After": "59"} if error.status == 429 else {}


def _paged(call: Call, results: list[Json]) -> Response:
    query = call.request.query_params
    try:
        per_page, number = int(query.get("per_page", PAGE)), 0
        if "cursor" in query:
            per_page, number, _ = map(int, query["cursor"].split(":"))
    except ValueError as error:
        raise PlaneError(400, {"detail": "Invalid cursor parameter."}) from error
    if not 0 < per_page <= PAGE or number < 0:
        raise PlaneError(400, {"detail": f"Invalid per_page value. Cannot exceed {PAGE}."})
    return JSONResponse(payloads.page(results, per_page=per_page, number=number))


async def _elsewhere(request: Request) -> Response:
    """Django's answer to a path without its last slash, whatever the method, and to one that is unknown."""
    path = request.url.path
    if not path.endswith("/"):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{path}/{query}", 301)
    return JSONResponse({"error": "Page not found."}, 404)
