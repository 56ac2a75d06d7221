"""Gitea's API about a repository's files and webhooks."""

import base64

from starlette.responses import Response
from starlette.routing import Route

from deployments.sandbox.core import Core
from deployments.sandbox.git import git_bytes
from deployments.sandbox.gitea import Gitea, GiteaError, missing
from deployments.sandbox.gitea_api import Call, GiteaEdge, GiteaJson, paged
from deployments.sandbox.gitea_payloads import Json


class GiteaFilesApi(GiteaEdge):
    """The routes `/contents` and `/hooks`."""

    def __init__(self, core: Core, gitea: Gitea) -> None:
        super().__init__(gitea)
        self._core = core

    def routes(self) -> list[Route]:
        """The routes, relative to `/gitea`."""
        repo = "/api/v1/repos/{owner}/{repo}"
        return [
            self.route(repo + "/contents/{path:path}", GET=self._contents),
            self.route(repo + "/hooks", GET=self._hooks, POST=self._create_hook),
            self.route(repo + "/hooks/{id:int}", GET=self._hook, PATCH=self._edit_hook, DELETE=self._delete_hook),
        ]

    async def _contents(self, call: Call) -> Response:
        repository, path = self.repository(call), call.param("path").strip("/")
        ref = call.query("ref", repository.default_branch)
        bare = self.gitea.bare(repository)
        commit = await self.commit_of(repository, ref)
        found = (await bare.git("ls-tree", "-l", commit, "--", path)).split()
        if len(found) < 5 or found[1] != "blob":
            gone = [f"object does not exist [id: , rel_path: {path}]"]
            raise GiteaError(404, "GetContentsOrList", errors=gone)
        last = (await bare.git("log", "-1", "--format=%H", commit, "--", path)).strip()
        blob = await git_bytes(bare.path, "cat-file", "blob", found[2])
        html = f"{self._core.gitea_url}/{repository.full_name}"
        url = f"{self.gitea.payloads.api}/repos/{repository.full_name}"
        links = {
            "self": f"{url}/contents/{path}?ref={ref}",
            "git": f"{url}/git/blobs/{found[2]}",
            "html": f"{html}/src/branch/{ref}/{path}",
        }
        body = {
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": found[2],
            "last_commit_sha": last,
            "type": "file",
            "size": int(found[3]),
            "encoding": "base64",
            "content": base64.b64encode(blob).decode(),
            "target": None,
            "url": links["self"],
            "html_url": links["html"],
            "git_url": links["git"],
            "download_url": f"{html}/raw/branch/{ref}/{path}",
            "submodule_git_url": None,
            "_links": links,
        }
        return GiteaJson(body)

    async def _hooks(self, call: Call) -> Response:
        return paged(call, [self.gitea.payloads.hook(one) for one in self.writable(call).hooks])

    async def _create_hook(self, call: Call) -> Response:
        repository, config = self.writable(call), call.fields.get("config")
        if not isinstance(config, dict) or not config.get("url") or not config.get("content_type"):
            raise GiteaError(422, "Missing config option: url")
        hook = self.gitea.hooks.put(repository, None, call.fields)
        return GiteaJson(self.gitea.payloads.hook(hook), 201)

    async def _hook(self, call: Call) -> Response:
        for one in self.writable(call).hooks:
            if one.id == call.request.path_params["id"]:
                return GiteaJson(self.gitea.payloads.hook(one))
        raise missing()

    async def _edit_hook(self, call: Call) -> Response:
        repository = self.writable(call)
        for one in repository.hooks:
            if one.id == call.request.path_params["id"]:
                return GiteaJson(self.gitea.payloads.hook(self.gitea.hooks.put(repository, one, _edited(call.fields))))
        raise missing()

    async def _delete_hook(self, call: Call) -> Response:
        repository = self.writable(call)
        number = call.request.path_params["id"]
        if all(one.id != number for one in repository.hooks):
            raise missing()
        repository.hooks = [one for one in repository.hooks if one.id != number]
        self._core.changed()
        return Response(status_code=204)


def _edited(fields: Json) -> Json:
    """What changing a hook really changes: never its secret; what is left out is reset (Gitea's source, 1.18 to 1.25)."""
    config = fields.get("config")
    kept = {name: value for name, value in config.items() if name != "secret"} if isinstance(config, dict) else {}
    return fields | {
        "config": kept,
        "events": fields.get("events") or ["push"],
        "branch_filter": fields.get("branch_filter") or "",
    }
