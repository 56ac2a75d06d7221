"""Gitea's API v1 as a forge. What it answers was measured on Gitea 1.21; what later versions change is said."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from pipeline.clients.gitea_landing import PullAnswer, RepositoryAnswer, fast_forward, mark_landed, read_pull
from pipeline.clients.http import HttpApi, HttpClient
from pipeline.errors import Refused
from pipeline.model import CiState, CiStatus, Landed, MovedOn, Protected, Pull
from pipeline.projects import Project

_PAGE = 50
"""Gitea's largest page; it cuts larger ones without a word."""

_GREEN = frozenset({"success", "warning", "skipped"})
_RED = frozenset({"failure", "error"})


class _Commit(BaseModel):
    id: str


class _Branch(BaseModel):
    commit: _Commit


class _Status(BaseModel):
    context: str
    status: str


class _Statuses(BaseModel):
    total_count: int = 0
    statuses: list[_Status] | None = None


class _User(BaseModel):
    login: str


class GiteaClient(HttpClient):
    """Fills `pipeline.ports.Forge`. One connection pool; close it with `aclose`.

    Every method that calls Gitea raises `Unavailable`, `Refused` or `Missing` as `pipeline.clients.http` says.
    """

    def __init__(self, base_url: str, token: SecretStr) -> None:
        """`base_url` is Gitea's address without `/api`; the token needs to write repositories."""
        self._base = base_url.rstrip("/")
        self._authorization = SecretStr(f"token {token.get_secret_value()}")
        headers = {"Authorization": self._authorization.get_secret_value()}
        super().__init__(HttpApi("Gitea", f"{self._base}/api/v1/", secret=token, headers=headers))

    def clone_url(self, project: Project) -> str:
        """The URL to clone from and push to, without credentials."""
        return f"{self._base}/{project.repository}.git"

    def git_credentials(self) -> dict[str, str]:
        """Environment that lets a git process talk to this forge and to nobody else; secret.

        A header that git adds to requests below the forge's address: nothing is written to a file, to a URL or to a
        command line.
        """
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{self._base}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: {self._authorization.get_secret_value()}",
        }

    async def open_pull(self, project: Project, *, branch: str, title: str, body: str) -> Pull:
        """The open pull request of `branch` to the default branch; opened when there is none. Idempotent.

        An open one keeps its title and body. Found by listing: the route by base and head is missing before 1.22.
        """
        existing = await self._open_pull_of(project, branch)
        if existing is not None:
            return existing
        wanted = {"head": branch, "base": project.default_branch, "title": title, "body": body}
        answer = await self._http.send("POST", f"{_repository(project)}/pulls", body=wanted)
        if answer.status == HTTPStatus.CONFLICT:  # somebody else opened it in between
            existing = await self._open_pull_of(project, branch)
            if existing is not None:
                return existing
        return answer.read(PullAnswer).as_pull()

    async def pull(self, project: Project, number: int) -> Pull:
        """A pull request as it is now."""
        return (await read_pull(self._http, _repository(project), number)).as_pull()

    async def combined_status(self, project: Project, commit: str) -> CiStatus:
        """What CI says about a commit: the worst of its contexts, all of them read.

        `warning` and `skipped` count as green, a word that is not known as pending. Gitea's own summary is not used:
        it is made from one page of contexts.
        """
        statuses = await self._statuses(f"{_repository(project)}/commits/{quote(commit, safe='')}/status")
        failing = tuple(sorted(status.context for status in statuses if status.status in _RED))
        pending = tuple(sorted(status.context for status in statuses if status.status not in _RED | _GREEN))
        if failing:
            return CiStatus(CiState.FAILURE, failing, pending)
        if pending:
            return CiStatus(CiState.PENDING, failing, pending)
        return CiStatus(CiState.SUCCESS if statuses else CiState.NONE)

    async def branch_tip(self, project: Project, branch: str) -> str | None:
        """The branch's commit, None when there is no such branch; `Missing` when there is no such repository."""
        answer = await self._http.send("GET", f"{_repository(project)}/branches/{quote(branch, safe='')}")
        if answer.status == HTTPStatus.NOT_FOUND:
            await self._http.call("GET", _repository(project))
            return None
        return answer.read(_Branch).commit.id

    async def fast_forward(self, project: Project, *, number: int, commit: str) -> Landed | MovedOn | Protected | None:
        """Land by Gitea's fast-forward-only merge, which moves the base to exactly the pull request's head. Idempotent.

        None when the repository does not offer that style, or Gitea is older than 1.22 and has none. `MovedOn.found` is
        the base branch's commit when the base moved, else the pull request's new head. Raises `Refused` for a pull
        request that was closed unmerged.
        """
        repository = (await self._http.call("GET", _repository(project))).read(RepositoryAnswer)
        if not repository.allow_fast_forward_only_merge:
            return None
        return await fast_forward(self._http, _repository(project), number=number, commit=commit)

    async def mark_landed(self, project: Project, *, number: int, commit: str) -> None:
        """After a push landed `commit`: mark the pull request merged by hand, else close it with a comment. Idempotent.

        A pull request that is merged or closed already is left as it is.
        """
        await mark_landed(self._http, _repository(project), number=number, commit=commit)

    async def delete_branch(self, project: Project, branch: str) -> None:
        """Remove a branch and so close its open pull request, unmerged. Idempotent: 404 counts as gone.

        Right after a push Gitea may answer 500 (measured on 1.21), and for one that never existed, too: `Unavailable`.
        """
        if branch == project.default_branch:
            raise Refused(f"{branch} is the default branch of {project.repository}; it is never removed.")
        path = f"{_repository(project)}/branches/{quote(branch, safe='')}"
        answer = await self._http.send("DELETE", path)
        if answer.status != HTTPStatus.NOT_FOUND:
            answer.checked()

    async def own_login(self) -> str:
        """The login of the token."""
        return (await self._http.call("GET", "user")).read(_User).login

    async def _open_pull_of(self, project: Project, branch: str) -> Pull | None:
        async for found in self._open_pulls(project):
            if found.connects(branch, project.default_branch):
                return found.as_pull()
        return None

    async def _open_pulls(self, project: Project) -> AsyncIterator[PullAnswer]:
        number = 0
        while True:
            number += 1
            query: dict[str, str | int] = {"state": "open", "limit": _PAGE, "page": number}
            page = (await self._http.call("GET", f"{_repository(project)}/pulls", params=query)).read(list[PullAnswer])
            for found in page:
                yield found
            if len(page) < _PAGE:
                return

    async def _statuses(self, path: str) -> tuple[_Status, ...]:
        found: list[_Status] = []
        number = 0
        while True:
            number += 1
            answer = await self._http.call("GET", path, params={"limit": _PAGE, "page": number})
            page = answer.read(_Statuses)
            found += page.statuses or ()
            if not page.statuses or len(found) >= page.total_count:
                return tuple(found)


def _repository(project: Project) -> str:
    return f"repos/{project.repository}"
