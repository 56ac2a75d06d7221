"""Gitea's API about pull requests."""

from starlette.responses import Response
from starlette.routing import Route

from deployments.sandbox.core import Core
from deployments.sandbox.gitea import Gitea, GiteaError, missing
from deployments.sandbox.gitea_api import Call, GiteaEdge, GiteaJson, paged
from deployments.sandbox.gitea_merge import Merger
from deployments.sandbox.gitea_pulls import Pulls
from deployments.sandbox.gitea_state import Pull, Repository


class GiteaPullsApi(GiteaEdge):
    """The routes about pull requests, their reviews and comments."""

    def __init__(self, core: Core, gitea: Gitea, pulls: Pulls, merger: Merger) -> None:
        super().__init__(gitea)
        self._core = core
        self._pulls = pulls
        self._merger = merger

    def routes(self) -> list[Route]:
        """The routes, relative to `/gitea`."""
        repo = "/api/v1/repos/{owner}/{repo}"
        pull = repo + "/pulls/{number:int}"
        routes = [
            self.route(repo + "/pulls", GET=self._list, POST=self._create),
            self.route(pull, GET=self._get, PATCH=self._edit),
            self.route(pull + "/merge", GET=self._is_merged, POST=self._merge),
            self.route(pull + "/reviews", GET=self._reviews, POST=self._review),
            self.route(pull + "/reviews/{review:int}/comments", GET=self._remarks),
            self.route(repo + "/issues/{number:int}/comments", GET=self._comments, POST=self._comment),
        ]
        if self._core.options.gitea_at_least(1, 22):
            # Measured on Gitea 1.21: no such route there.
            routes.append(self.route(repo + "/pulls/{base}/{head:path}", GET=self._by_branches))
        return routes

    def _pull(self, call: Call) -> tuple[Repository, Pull]:
        repository = self.repository(call)
        return repository, self._pulls.find(repository, call.request.path_params["number"])

    async def _body(self, repository: Repository, pull: Pull) -> dict[str, object]:
        await self._pulls.refresh(repository, pull)
        return self.gitea.payloads.pull(repository, pull)

    async def _list(self, call: Call) -> Response:
        repository, state = self.repository(call), call.query("state", "open")
        newest_first = [one for one in repository.pulls[::-1] if state in (one.state, "all")]
        if call.query("sort") == "recentupdate":
            newest_first.sort(key=lambda one: one.updated_at, reverse=True)
        return paged(call, [await self._body(repository, one) for one in newest_first])

    async def _create(self, call: Call) -> Response:
        repository = self.writable(call)
        pull = await self._pulls.create(repository, call.fields, call.user)
        return GiteaJson(await self._body(repository, pull), 201)

    async def _get(self, call: Call) -> Response:
        return GiteaJson(await self._body(*self._pull(call)))

    async def _by_branches(self, call: Call) -> Response:
        repository = self.repository(call)
        for one in repository.pulls[::-1]:
            if (one.base, one.head) == (call.param("base"), call.param("head")):
                return GiteaJson(await self._body(repository, one))
        raise missing()

    async def _edit(self, call: Call) -> Response:
        self.writable(call)
        repository, pull = self._pull(call)
        await self._pulls.edit(repository, pull, call.fields, call.user.login)
        return GiteaJson(await self._body(repository, pull), 201)

    async def _is_merged(self, call: Call) -> Response:
        _, pull = self._pull(call)
        return Response(status_code=204 if pull.merged else 404)

    async def _merge(self, call: Call) -> Response:
        self.writable(call)
        repository, pull = self._pull(call)
        await self._merger.merge(repository, pull, call.fields, call.user)
        return Response(status_code=200)

    async def _reviews(self, call: Call) -> Response:
        repository, pull = self._pull(call)
        await self._pulls.refresh(repository, pull)
        return paged(call, [self.gitea.payloads.review(repository, pull, one) for one in pull.reviews])

    async def _review(self, call: Call) -> Response:
        repository, pull = self._pull(call)
        review = await self._pulls.review(repository, pull, call.fields, call.user)
        return GiteaJson(self.gitea.payloads.review(repository, pull, review))

    async def _remarks(self, call: Call) -> Response:
        _repository, pull = self._pull(call)
        wanted = int(call.param("review"))
        found = next((one for one in pull.reviews if one.id == wanted), None)
        if found is None:
            raise GiteaError(404, "Not Found")
        return GiteaJson([self.gitea.payloads.remark(found, one) for one in found.remarks])

    async def _comments(self, call: Call) -> Response:
        repository, pull = self._pull(call)
        return GiteaJson([self.gitea.payloads.comment(repository, pull, one) for one in pull.comments])

    async def _comment(self, call: Call) -> Response:
        repository, pull = self._pull(call)
        text = str(call.fields.get("body") or "")
        if not text:
            raise GiteaError(422, "[Body]: Required")
        comment = self._pulls.comment(repository, pull, text, call.user.login)
        return GiteaJson(self.gitea.payloads.comment(repository, pull, comment), 201)
