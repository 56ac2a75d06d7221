"""Puts the sandbox together: one ASGI application with Plane, Gitea, Telegram, the stands, the board and the control API."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from deployments.sandbox.board import Pages
from deployments.sandbox.ci import Ci
from deployments.sandbox.control import Control
from deployments.sandbox.core import Core
from deployments.sandbox.gatekeeper import Gatekeeper
from deployments.sandbox.gitea import Gitea
from deployments.sandbox.gitea_api import GiteaApi
from deployments.sandbox.gitea_files_api import GiteaFilesApi
from deployments.sandbox.gitea_merge import Merger
from deployments.sandbox.gitea_pulls import Pulls
from deployments.sandbox.gitea_pulls_api import GiteaPullsApi
from deployments.sandbox.options import SAMPLE, Options
from deployments.sandbox.plane import Plane
from deployments.sandbox.plane_api import PlaneApi
from deployments.sandbox.plane_state import PlaneProject
from deployments.sandbox.stands import Stands
from deployments.sandbox.stands_api import StandsApi
from deployments.sandbox.telegram import Telegram


class Sandbox:
    """A whole sandbox below `root`, reachable at `base_url`. `app` starts and stops it with its lifespan."""

    def __init__(self, root: Path, base_url: str, options: Options | None = None) -> None:
        self.options = options or Options()
        self.core = Core(root, base_url, self.options)
        self.plane = Plane(self.core)
        self.gitea = Gitea(self.core)
        self.pulls = Pulls(self.core, self.gitea)
        self.merger = Merger(self.core, self.gitea, self.pulls)
        self.ci = Ci(self.core, self.gitea)
        self.telegram = Telegram(self.core)
        self.stands = Stands(self.core, self.gitea)
        self.app: ASGIApp = Gatekeeper(self._application(), self.core)

    def _application(self) -> Starlette:
        gitea_api = GiteaApi(self.core, self.gitea)
        pulls_api = GiteaPullsApi(self.core, self.gitea, self.pulls, self.merger)
        stands_api = StandsApi(self.stands)
        pages = Pages(self.plane, self.gitea)
        files_api = GiteaFilesApi(self.core, self.gitea)
        gitea = pulls_api.routes() + files_api.routes() + gitea_api.routes() + pages.gitea() + gitea_api.open_routes()
        return Starlette(
            routes=[
                Mount("/plane", routes=pages.plane() + PlaneApi(self.core, self.plane).routes()),
                Mount("/gitea", routes=gitea),
                Mount("/telegram", routes=self.telegram.routes()),
                Mount("/sandbox", routes=Control(self).routes() + stands_api.control()),
                Mount("/stands", routes=stands_api.routes()),
                *pages.board(),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        if self.core.fresh:
            await self._seed()
        self.ci.start()
        yield
        await self.ci.close()
        await self.stands.close()
        await self.core.close()

    async def _seed(self) -> None:
        self.plane.seed()
        self.gitea.seed()
        await self.add_project("SHOP", "Shop", "acme/shop")
        await self.core.save()

    async def add_project(
        self,
        identifier: str,
        name: str,
        repository: str,
        *,
        files: Path = SAMPLE,
        test_command: list[str] | None = None,
    ) -> PlaneProject:
        """A new Plane project with states and labels, and a new repository that starts with `files`."""
        await self.gitea.add_repository(repository, files, test_command or list(self.options.test_command))
        return self.plane.add_project(identifier, name)
