"""Gitea's API v1 as a forge. What it answers was measured on Gitea 1.21; what later versions change is said."""

import base64
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from pipeline.branches import PREFIX
from pipeline.clients import gitea_hooks, gitea_landing
from pipeline.clients.gitea_answers import PullAnswer, RemarkAnswer, RepositoryAnswer, ReviewAnswer, UserAnswer, pages
from pipeline.clients.http import Answer, HttpApi, HttpClient
from pipeline.errors import Refused, Unavailable
from pipeline.model import (
    CiState,
    CiStatus,
    ForgeAccess,
    ForgeComment,
    Landed,
    MovedOn,
    Protected,
    Pull,
    Review,
    ReviewRemark,
    Subscription,
)
from pipeline.projects import Project

_GREEN = frozenset({"success", "warning", "skipped"})
_RED = frozenset({"failure", "error"})


class _Commit(BaseModel):
    id: str


class _Branch(BaseModel):
    commit: _Commit
    user_can_push: bool = False


class _Status(BaseModel):
    context: str
    status: str


class _Statuses(BaseModel):
    statuses: list[_Status] | None = None


class _File(BaseModel):
    type: str
    size: int
    content: str | None = None


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
        return (await gitea_landing.read_pull(self._http, _repository(project), number)).as_pull()

    async def recent_pulls(self, project: Project, *, changed_since: datetime) -> tuple[Pull, ...]:
        """Pull requests, open or not, that changed since then; latest change first, those of forks left out.

        Stops paging at the first older one. A change of the very second of `changed_since` is told again, for Gitea
        tells whole seconds.
        """
        since = changed_since.replace(microsecond=0)
        recent: dict[int, Pull] = {}  # what changes meanwhile moves the others to where they are seen twice
        async for found in self._pulls(project, state="all", sort="recentupdate"):
            if found.updated_at < since:
                break
            if not found.foreign:
                recent.setdefault(found.number, found.as_pull())
        return tuple(recent.values())

    async def reviews(self, project: Project, number: int) -> tuple[Review, ...]:
        """Submitted reviews of a pull request, oldest first; drafts and requests for a review are none."""
        path = f"{_repository(project)}/pulls/{number}/reviews"
        found = [one.as_review() async for one in pages(self._http, path, lambda page: page.read(list[ReviewAnswer]))]
        return tuple(review for review in found if review is not None)

    async def review_remarks(self, project: Project, number: int, review: int) -> tuple[ReviewRemark, ...]:
        """What a review says about single lines (by Gitea's documentation, not measured)."""
        answer = await self._http.call("GET", f"{_repository(project)}/pulls/{number}/reviews/{review}/comments")
        return tuple(one.as_remark() for one in answer.read(list[RemarkAnswer]))

    async def comments(self, project: Project, number: int) -> tuple[ForgeComment, ...]:
        """Comments on a pull request, oldest first."""
        found = await gitea_landing.read_comments(self._http, _repository(project), number)
        return tuple(ForgeComment(one.id, one.user.login, one.body, one.created_at) for one in found)

    async def comment(self, project: Project, number: int, text: str) -> None:
        """Write a comment on a pull request, unless one with this very text is there. Idempotent."""
        await gitea_landing.comment_once(self._http, _repository(project), number, text)

    async def combined_status(self, project: Project, commit: str) -> CiStatus:
        """What CI says about a commit: the worst of its contexts, all of them read.

        `warning` and `skipped` count as green, a word that is not known as pending. Gitea's own summary is not used:
        it is made from one page of contexts.
        """
        path = f"{_repository(project)}/commits/{quote(commit, safe='')}/status"
        statuses = [status async for status in pages(self._http, path, _statuses)]
        failing = tuple(sorted(status.context for status in statuses if status.status in _RED))
        pending = tuple(sorted(status.context for status in statuses if status.status not in _RED | _GREEN))
        if failing:
            return CiStatus(CiState.FAILURE, failing, pending)
        if pending:
            return CiStatus(CiState.PENDING, failing, pending)
        return CiStatus(CiState.SUCCESS if statuses else CiState.NONE)

    async def branch_tip(self, project: Project, branch: str) -> str | None:
        """The branch's commit, None when there is no such branch; `Missing` when there is no such repository."""
        answer = await self._http.send("GET", _branch(project, branch))
        if await self._is_absent(project, answer):
            return None
        return answer.read(_Branch).commit.id

    async def delete_branch(self, project: Project, branch: str) -> None:
        """Delete a task branch; nothing when there is none. Idempotent.

        Raises `Refused`, without asking Gitea, for the default branch and for whatever is no task branch. Gitea answers
        500 for a branch that never was, and sometimes right after a push (measured): only what is still there then is
        `Unavailable`.
        """
        if branch == project.default_branch or not branch.startswith(PREFIX):
            raise Refused(
                f"{branch!r} is not a task branch ({PREFIX}...) of {project.repository}; Orch deletes no other."
            )
        try:
            answer = await self._http.send("DELETE", _branch(project, branch))
        except Unavailable as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR or await self.branch_tip(project, branch) is not None:
                raise
            return
        if not await self._is_absent(project, answer):
            answer.checked()

    async def file(self, project: Project, path: str, *, ref: str) -> bytes | None:
        """A file as it is at a branch or commit, None when there is none (a folder is none).

        Raises `Refused` for a file that is larger than Gitea hands out.
        """
        where = f"{_repository(project)}/contents/{quote(path)}"
        answer = await self._http.send("GET", where, params={"ref": ref})
        if await self._is_absent(project, answer):
            return None
        if isinstance(answer.body, list):  # the entries of a folder
            return None
        found = answer.read(_File)
        if found.type != "file":
            return None
        content = base64.b64decode(found.content or "")
        if len(content) != found.size:
            raise Refused(f"Gitea does not hand out {path} of {project.repository}: it has {found.size} bytes.")
        return content

    async def hook_state(
        self, project: Project, *, url: str, events: Collection[str] = gitea_hooks.EVENTS
    ) -> Subscription | None:
        """The repository's webhook that tells `url`, and what is wrong with it; None when there is none.

        The token needs to administrate the repository, else `Refused`.
        """
        return await gitea_hooks.hook_state(self._http, _repository(project), url, events)

    async def ensure_hook(
        self, project: Project, *, url: str, secret: SecretStr, events: Collection[str] = gitea_hooks.EVENTS
    ) -> Subscription:
        """Have exactly one active webhook that tells `url` of `events` in JSON, signed with `secret`. Idempotent.

        What tells `url` already is replaced, for the secret of a hook can neither be read nor changed; the id is new
        every time. Faults of what was made are what this Gitea cannot tell.
        """
        return await gitea_hooks.ensure_hook(self._http, _repository(project), url, secret, events)

    async def fast_forward(self, project: Project, *, number: int, commit: str) -> Landed | MovedOn | Protected | None:
        """Land by Gitea's fast-forward-only merge, which moves the base to exactly the pull request's head. Idempotent.

        None when the repository does not offer that style, or Gitea is older than 1.22 and has none; the pull request
        is open then, with `commit` as its head. `MovedOn.found` is the base branch's commit when the base moved, else
        the pull request's new head. Raises `Refused` for a pull request that was closed unmerged.
        """
        repository = (await self._http.call("GET", _repository(project))).read(RepositoryAnswer)
        return await gitea_landing.fast_forward(
            self._http,
            _repository(project),
            number=number,
            commit=commit,
            offered=repository.allow_fast_forward_only_merge,
        )

    async def mark_landed(self, project: Project, *, number: int, commit: str) -> None:
        """After a push landed `commit`: mark the pull request merged by hand, else close it with a comment. Idempotent.

        A pull request that is merged or closed already is left as it is.
        """
        await gitea_landing.mark_landed(self._http, _repository(project), number=number, commit=commit)

    async def access(self, project: Project) -> ForgeAccess:
        """What the token's user may do in the repository; `Missing` when it is not there, or hidden from them."""
        repository = (await self._http.call("GET", _repository(project))).read(RepositoryAnswer)
        answer = await self._http.send("GET", _branch(project, project.default_branch))
        absent = answer.status == HTTPStatus.NOT_FOUND
        return ForgeAccess(
            push=repository.permissions.push,
            admin=repository.permissions.admin,
            push_default=None if absent else answer.read(_Branch).user_can_push,
            fast_forward_only=repository.allow_fast_forward_only_merge,
        )

    async def own_login(self) -> str:
        """The login of the token."""
        return (await self._http.call("GET", "user")).read(UserAnswer).login

    async def _open_pull_of(self, project: Project, branch: str) -> Pull | None:
        async for found in self._pulls(project, state="open"):
            if found.connects(branch, project.default_branch):
                return found.as_pull()
        return None

    def _pulls(self, project: Project, **query: str) -> AsyncIterator[PullAnswer]:
        return pages(self._http, f"{_repository(project)}/pulls", lambda page: page.read(list[PullAnswer]), **query)

    async def _is_absent(self, project: Project, answer: Answer) -> bool:
        """Whether a 404 is about the thing that was asked for; `Missing` when the repository itself is not there."""
        if answer.status != HTTPStatus.NOT_FOUND:
            return False
        await self._http.call("GET", _repository(project))
        return True


def _repository(project: Project) -> str:
    return f"repos/{project.repository}"


def _branch(project: Project, branch: str) -> str:
    return f"{_repository(project)}/branches/{quote(branch, safe='')}"


def _statuses(answer: Answer) -> list[_Status]:
    """One page of a combined status; Gitea before 1.21 answers with nothing at all when there is none (its source)."""
    return answer.read(_Statuses).statuses or [] if answer.checked().body is not None else []
