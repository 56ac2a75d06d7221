"""The board page for people at `/`, and short pages for the links that Orch puts into its messages."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from deployments.sandbox.git import git_bytes
from deployments.sandbox.gitea import Gitea, GiteaError
from deployments.sandbox.gitea_state import Repository
from deployments.sandbox.plane import Plane, PlaneError

PAGE = (Path(__file__).parent / "templates" / "board.html").read_text()


class Pages:
    """What a browser may ask for. Nothing here needs a login: a sandbox has no secrets."""

    def __init__(self, plane: Plane, gitea: Gitea) -> None:
        self._plane = plane
        self._gitea = gitea

    def board(self) -> list[Route]:
        """The board itself; it talks to the control API."""
        return [Route("/", _board)]

    def plane(self) -> list[Route]:
        """Plane's own addresses of an issue, relative to `/plane`; they lead to the card on the board."""
        return [
            Route("/{workspace}/browse/{key}", self._browse),
            Route("/{workspace}/browse/{key}/", self._browse),
            Route("/{workspace}/projects/{project}/issues/{item}", self._issue),
            Route("/{workspace}/projects/{project}/issues/{item}/", self._issue),
        ]

    def gitea(self) -> list[Route]:
        """A file on a branch and a pull request's diff, relative to `/gitea`."""
        return [
            Route("/{owner}/{repo}/src/branch/{rest:path}", self._file),
            Route("/{owner}/{repo}/src/commit/{rest:path}", self._file),
            Route("/{owner}/{repo}/raw/branch/{rest:path}", self._file),
            Route("/{owner}/{repo}/commit/{sha}", self._commit),
            Route("/{owner}/{repo}/pulls/{number:int}", self._pull),
        ]

    async def _browse(self, request: Request) -> Response:
        return RedirectResponse(f"/#{request.path_params['key']}", 302)

    async def _issue(self, request: Request) -> Response:
        try:
            card = self._plane.card(request.path_params["item"])
        except PlaneError:
            return PlainTextResponse("There is no such card.\n", 404)
        return RedirectResponse(f"/#{self._plane.key(card)}", 302)

    def _repository(self, request: Request) -> Repository:
        return self._gitea.repository(request.path_params["owner"], request.path_params["repo"])

    async def _file(self, request: Request) -> Response:
        """Branch names hold slashes, so the longest beginning of the path that is a branch or commit is taken."""
        parts = request.path_params["rest"].split("/")
        try:
            bare = self._gitea.bare(self._repository(request))
        except GiteaError:
            return _nothing()
        for length in range(len(parts) - 1, 0, -1):
            sha = await bare.resolve("/".join(parts[:length]))
            if sha is not None:
                path = "/".join(parts[length:])
                listed = (await bare.git("ls-tree", sha, "--", path)).split()
                if len(listed) < 3:
                    return _nothing()
                shown = "ls-tree" if listed[1] == "tree" else "cat-file"
                how = ("--name-only", listed[2]) if listed[1] == "tree" else ("blob", listed[2])
                return _text(await git_bytes(bare.path, shown, *how))
        return _nothing()

    async def _commit(self, request: Request) -> Response:
        try:
            bare = self._gitea.bare(self._repository(request))
        except GiteaError:
            return _nothing()
        sha = await bare.resolve(request.path_params["sha"])
        return _nothing() if sha is None else _text(await git_bytes(bare.path, "show", "--stat", "-p", sha))

    async def _pull(self, request: Request) -> Response:
        try:
            repository = self._repository(request)
        except GiteaError:
            return _nothing()
        for one in repository.pulls:
            if one.number == request.path_params["number"]:
                state = "merged" if one.merged else one.state
                head = f"#{one.number} {one.title} ({state})\n{one.head} -> {one.base}\n\n{one.body}\n\n"
                span = f"{one.merge_base}..{one.head_sha}"
                diff = await git_bytes(self._gitea.bare(repository).path, "diff", "--stat", "-p", span)
                return _text(head.encode() + diff)
        return _nothing()


async def _board(_request: Request) -> Response:
    return HTMLResponse(PAGE)


def _text(content: bytes) -> Response:
    return PlainTextResponse(content, headers={"X-Content-Type-Options": "nosniff"})


def _nothing() -> Response:
    return PlainTextResponse("404 page not found\n", 404)
