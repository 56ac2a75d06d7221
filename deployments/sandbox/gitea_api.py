"""Gitea's API v1 and its git over HTTP, with errors as measured on Gitea 1.21: routing, tokens, repositories."""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deployments.sandbox.core import Core
from deployments.sandbox.git_http import backend, unauthorised
from deployments.sandbox.gitea import Gitea, GiteaError, missing
from deployments.sandbox.gitea_merge import MergeConflict
from deployments.sandbox.gitea_payloads import Json
from deployments.sandbox.gitea_state import GiteaUser, Repository

PAGE = 50
"""The most that a page of a list holds."""


class GiteaJson(JSONResponse):
    """A JSON answer with Gitea's content type."""

    media_type = "application/json;charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a known user; `repository` is there where the path names one."""

    request: Request
    user: GiteaUser
    fields: Json

    def param(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.request.query_params.get(name, default)


Handler = Callable[[Call], Awaitable[Response]]


class GiteaEdge:
    """What every route below `/gitea` shares: tokens, errors, pages."""

    def __init__(self, gitea: Gitea) -> None:
        self.gitea = gitea

    def route(self, path: str, **handlers: Handler) -> Route:
        """A route whose handlers, by method, get an authenticated `Call` and may raise `GiteaError`."""

        async def endpoint(request: Request) -> Response:
            try:
                return await handlers[request.method](await self._call(request))
            except MergeConflict as conflict:
                return GiteaJson(conflict.body, 409)
            except GiteaError as error:
                return GiteaJson(self.gitea.payloads.error(error.message, **error.more), error.status)

        return Route(path, endpoint, methods=list(handlers))

    async def _call(self, request: Request) -> Call:
        token = token_of(request)
        if not token:
            raise GiteaError(401, "token is required")
        user = self.gitea.user_of_token(token)
        if user is None:
            raise GiteaError(401, "user does not exist [uid: 0, name: , keyid: 0]")
        return Call(request, user, await _fields(request))

    def repository(self, call: Call) -> Repository:
        """The repository that the path names."""
        return self.gitea.repository(call.param("owner"), call.param("repo"))

    def writable(self, call: Call) -> Repository:
        """The repository that the path names; 403 when the user may only read."""
        repository = self.repository(call)
        if not call.user.writer:
            raise GiteaError(403, "user should have a permission to write to a repo")
        return repository

    async def commit_of(self, repository: Repository, ref: str) -> str:
        """The commit of a branch, tag or sha; 404 when there is none."""
        sha = await self.gitea.bare(repository).resolve(ref)
        if sha is None:
            raise missing()
        return sha


class GiteaApi(GiteaEdge):
    """Users, repositories, branches, statuses, and git itself."""

    def __init__(self, core: Core, gitea: Gitea) -> None:
        super().__init__(gitea)
        self._core = core

    def routes(self) -> list[Route]:
        """The routes, relative to `/gitea`; the last two are git itself and everything unknown."""
        repo = "/api/v1/repos/{owner}/{repo}"
        return [
            self.route("/api/v1/user", GET=self._user),
            self.route(repo, GET=self._repository),
            self.route(repo + "/branches", GET=self._branches, POST=self._create_branch),
            self.route(repo + "/branches/{branch:path}", GET=self._branch, DELETE=self._delete_branch),
            self.route(repo + "/commits/{ref:path}/status", GET=self._combined_status),
            self.route(repo + "/commits/{ref:path}/statuses", GET=self._statuses),
            self.route(repo + "/statuses/{ref:path}", GET=self._statuses, POST=self._post_status),
        ]

    def open_routes(self) -> list[Route]:
        """Routes that need no token of the API, and the one that answers what no route knows."""
        return [
            Route("/api/v1/version", self._version),
            Route("/{owner}/{repo}.git/{rest:path}", self._git, methods=["GET", "POST"]),
            Route("/{path:path}", _unknown, methods=["GET", "POST", "PATCH", "PUT", "DELETE"]),
        ]

    # --- users, repositories, branches ---

    async def _version(self, _request: Request) -> Response:
        return GiteaJson({"version": self._core.options.gitea_version})

    async def _user(self, call: Call) -> Response:
        return GiteaJson(self.gitea.payloads.user(call.user.login))

    async def _repository(self, call: Call) -> Response:
        return GiteaJson(self.gitea.payloads.repository(self.repository(call), writer=call.user.writer))

    async def _branches(self, call: Call) -> Response:
        repository = self.repository(call)
        names = [ref.removeprefix("refs/heads/") for ref in await self.gitea.bare(repository).refs()]
        return paged(call, [await self._branch_body(call, repository, name) for name in names if "refs/" not in name])

    async def _branch(self, call: Call) -> Response:
        return GiteaJson(await self._branch_body(call, self.repository(call), call.param("branch")))

    async def _branch_body(self, call: Call, repository: Repository, name: str) -> Json:
        bare = self.gitea.bare(repository)
        sha = await bare.branch(name)
        if sha is None:
            raise missing(errors=[f"branch does not exist [name: {name}]"])
        commit = (await bare.commits(None, sha, most=1))[0]
        return self.gitea.payloads.branch(repository, name, commit, writer=call.user.writer)

    async def _create_branch(self, call: Call) -> Response:
        repository = self.writable(call)
        name = str(call.fields.get("new_branch_name") or "")
        if not name:
            raise GiteaError(422, "[BranchName]: Required")
        source = call.fields.get("old_ref_name") or call.fields.get("old_branch_name") or repository.default_branch
        await self.gitea.create_branch(repository, name, str(source), call.user.login)
        return GiteaJson(await self._branch_body(call, repository, name), 201)

    async def _delete_branch(self, call: Call) -> Response:
        await self.gitea.delete_branch(self.writable(call), call.param("branch"), call.user.login)
        return Response(status_code=204)

    # --- statuses ---

    async def _combined_status(self, call: Call) -> Response:
        repository = self.repository(call)
        sha = await self.commit_of(repository, call.param("ref"))
        latest = self.gitea.payloads.latest_statuses(repository, sha)
        body = self.gitea.payloads.combined_status(repository, latest[page_of(call)])
        return GiteaJson(body, headers={"X-Total-Count": str(len(latest))} if latest else {})

    async def _statuses(self, call: Call) -> Response:
        repository = self.repository(call)
        sha = await self.commit_of(repository, call.param("ref"))
        newest_first = [one for one in repository.statuses if one.sha == sha][::-1]
        return paged(call, [self.gitea.payloads.status(repository, one) for one in newest_first])

    async def _post_status(self, call: Call) -> Response:
        repository, fields = self.writable(call), call.fields
        status = await self.gitea.post_status(
            repository,
            call.param("ref"),
            state=str(fields.get("state") or ""),
            context=str(fields.get("context") or ""),
            login=call.user.login,
            description=str(fields.get("description") or ""),
            target_url=str(fields.get("target_url") or ""),
        )
        return GiteaJson(self.gitea.payloads.status(repository, status), 201)

    # --- git ---

    async def _git(self, request: Request) -> Response:
        token = token_of(request)
        user = self.gitea.user_of_token(token) if token else None
        if user is None:
            return unauthorised()
        try:
            repository = self.gitea.repository(request.path_params["owner"], request.path_params["repo"])
        except GiteaError:
            return PlainTextResponse("Repository not found\n", 404)
        path = f"/{repository.full_name}.git/{request.path_params['rest']}"
        writes = "git-receive-pack" in (request.path_params["rest"], request.query_params.get("service"))
        if writes and not user.writer:
            return PlainTextResponse("User permission denied for writing.\n", 403)
        if request.method == "GET" or not writes:
            return await backend(request, self.gitea.root, path, user.login)
        bare = self.gitea.bare(repository)
        async with bare.lock:
            before = await bare.refs()
            answer = await backend(request, self.gitea.root, path, user.login)
            await self.gitea.announce_moves(repository, before, await bare.refs(), user.login)
        return answer


def token_of(request: Request) -> str:
    """The token of a request: `token T`, `Bearer T`, or basic with it as password (or as user name)."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() in ("token", "bearer"):
        return value.strip()
    if kind.lower() != "basic":
        return ""
    try:
        name, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "unreadable"
    return name if password in ("", "x-oauth-basic") else password


def page_of(call: Call) -> slice:
    """Where the page that is asked for lies in its list."""
    limit = min(int(call.query("limit") or PAGE), PAGE)
    start = (max(int(call.query("page") or 1), 1) - 1) * limit
    return slice(start, start + limit)


def paged(call: Call, bodies: list[Json]) -> Response:
    """One page of a list, with the total in a header."""
    return GiteaJson(bodies[page_of(call)], headers={"X-Total-Count": str(len(bodies))})


async def _fields(request: Request) -> Json:
    raw = await request.body()
    if not raw:
        return {}
    try:
        fields = json.loads(raw)
    except ValueError as error:
        raise GiteaError(422, f"[]: {error}") from error
    return fields if isinstance(fields, dict) else {}


async def _unknown(_request: Request) -> Response:
    return PlainTextResponse("404 page not found\n", 404)
