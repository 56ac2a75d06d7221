"""What can be done in Gitea's repositories, whoever asks for it, and what its webhooks say about it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.git import ZERO, BareRepository
from deployments.sandbox.gitea_hooks import GiteaHooks
from deployments.sandbox.gitea_payloads import RANK, Json, stamp
from deployments.sandbox.gitea_pull_payloads import GiteaPayloads
from deployments.sandbox.gitea_state import CommitStatus, DefaultPush, GiteaUser, Hook, Repository

BranchMoved = Callable[[Repository, str, str | None, str], Awaitable[None]]
"""Told of (repository, branch, its new commit or None, login) after each move of a branch."""


class GiteaError(Exception):
    """An answer other than success: `status` and `message`; `more` are further fields of the body."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.more = more


def missing(**more: object) -> GiteaError:
    """Gitea's 404, which names what is missing only sometimes."""
    return GiteaError(404, "The target couldn't be found.", **({"errors": None} | more))


class Gitea:
    """The forge: users, repositories and their branches, statuses and webhooks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.world = core.world.gitea
        self.payloads = GiteaPayloads(
            core.gitea_url, self.world.users, fast_forward_known=core.options.gitea_at_least(1, 22)
        )
        self.hooks = GiteaHooks(core, self.payloads)
        self.branch_moved: list[BranchMoved] = []
        self.root: Path = core.root / "repositories"
        self._bare: dict[str, BareRepository] = {}
        self._tokens = {
            core.options.gitea_bot_token: "orch-bot",
            core.options.gitea_person_token: "ada",
            core.options.gitea_reader_token: "eve",
        }
        for repository in self.world.repositories:
            self.bare(repository).guard(repository.protection)

    def seed(self) -> None:
        """The users: the bot, Ada, the CI, and Eve who may only read."""
        for number, login in enumerate(("orch-bot", "ada", "ci", "eve"), 1):
            user = GiteaUser(id=number, login=login, email=f"{login}@example.com", writer=login != "eve")
            self.world.users.append(user)

    async def add_repository(self, full_name: str, files: Path | None, test_command: list[str]) -> Repository:
        """A new repository whose default branch starts with `files`; they count as its first push."""
        owner, _, name = full_name.partition("/")
        options = self._core.options
        repository = Repository(
            id=self.world.next_id(),
            owner=owner,
            name=name,
            test_command=test_command,
            allow_fast_forward_only_merge=options.fast_forward_only,
            allow_manual_merge=options.allow_manual_merge,
        )
        await self.bare(repository).create(files)
        repository.known_branches.append(repository.default_branch)
        self.world.repositories.append(repository)
        self._core.changed()
        return repository

    # --- finding ---

    def user_of_token(self, token: str) -> GiteaUser | None:
        """Whom a token belongs to."""
        return self.user(self._tokens[token]) if token in self._tokens else None

    def user(self, login: str) -> GiteaUser:
        """A user by login; `GiteaError` 404 when there is none."""
        for one in self.world.users:
            if one.login == login:
                return one
        raise missing()

    def repository(self, owner: str, name: str) -> Repository:
        """A repository, compared without case; `GiteaError` 404 when there is none, or its git data is gone."""
        for one in self.world.repositories:
            if one.full_name.casefold() == f"{owner}/{name}".casefold() and self._path(one).exists():
                return one
        raise missing()

    def bare(self, repository: Repository) -> BareRepository:
        """The git data of a repository."""
        if repository.full_name not in self._bare:
            self._bare[repository.full_name] = BareRepository(self._path(repository), repository.default_branch)
        return self._bare[repository.full_name]

    def _path(self, repository: Repository) -> Path:
        return self.root / repository.owner / f"{repository.name}.git"

    # --- branches ---

    def protect(self, repository: Repository, protection: str) -> None:
        """Protect the default branch: `push` from pushes, `all` from merges too, empty from neither."""
        repository.protection = protection
        self.bare(repository).guard(protection)
        self._core.changed()

    async def create_branch(self, repository: Repository, name: str, source: str, login: str) -> str:
        """A new branch at `source`; `GiteaError` 409 when it is there, 404 when the source is not."""
        bare = self.bare(repository)
        async with bare.lock:
            if await bare.branch(name):
                raise GiteaError(409, "The branch already exists.")
            sha = await bare.resolve(source)
            if sha is None:
                raise GiteaError(404, "The old branch does not exist")
            await bare.move(name, sha, ZERO, "branch: created through the API")
            await self.moved(repository, f"refs/heads/{name}", None, sha, login)
        return sha

    async def delete_branch(self, repository: Repository, name: str, login: str) -> None:
        """Delete a branch; fine when it was deleted before, `GiteaError` when it never was or is the default one."""
        if name == repository.default_branch:
            raise GiteaError(403, "can not delete default branch")
        bare = self.bare(repository)
        async with bare.lock:
            sha = await bare.branch(name)
            if sha is not None:
                await bare.delete(name, sha)
                await self.moved(repository, f"refs/heads/{name}", sha, None, login)
            elif name not in repository.known_branches:
                raise missing(errors=[f"branch does not exist [name: {name}]"])

    async def commit(
        self, repository: Repository, branch: str, files: Mapping[str, str | None], message: str, login: str
    ) -> str:
        """Commit files to a branch (made from the default one when new) as if `login` had pushed; the new commit.

        Goes past the protection of the default branch, as an administrator does.
        """
        bare = self.bare(repository)
        async with bare.lock:
            old = await bare.branch(branch)
            parent = old or await bare.branch(repository.default_branch)
            if parent is None:
                raise missing()
            new = await bare.commit(parent, files, message, (login, self.user(login).email))
            await bare.move(branch, new, old or ZERO, "push")
            await self.moved(repository, f"refs/heads/{branch}", old, new, login)
        return new

    async def announce_moves(
        self, repository: Repository, before: dict[str, str], after: dict[str, str], login: str
    ) -> None:
        """Tell of everything that differs between two looks at the refs. The caller holds the repository's lock."""
        for ref in sorted(before.keys() | after.keys()):
            if before.get(ref) != after.get(ref):
                await self.moved(repository, ref, before.get(ref), after.get(ref), login)

    async def moved(
        self, repository: Repository, ref: str, old: str | None, new: str | None, login: str, *, how: str = "push"
    ) -> None:
        """Tell webhooks, pull requests and CI that a ref moved. The caller holds the repository's lock."""
        repository.updated_at = now()
        short = ref.split("/", 2)[2]
        kind = "branch" if ref.startswith("refs/heads/") else "tag"
        if new is None:
            gone: Json = {"ref": short, "ref_type": kind, "pusher_type": "user"}
            self.hooks.announce(repository, "delete", login, gone)
        else:
            if old is None:
                self.hooks.announce(repository, "create", login, {"sha": new, "ref": short, "ref_type": kind})
            await self._announce_push(repository, ref, old, new, login)
        if kind == "branch":
            self._remember(repository, short, old, new, login, how)
            for told in self.branch_moved:
                await told(repository, short, new, login)

    def _remember(
        self, repository: Repository, branch: str, old: str | None, new: str | None, login: str, how: str
    ) -> None:
        if branch not in repository.known_branches:
            repository.known_branches.append(branch)
        if branch == repository.default_branch and new:
            repository.default_pushes.append(DefaultPush(before=old or ZERO, after=new, user=login, how=how))

    async def _announce_push(self, repository: Repository, ref: str, old: str | None, new: str, login: str) -> None:
        bare = self.bare(repository)
        head = (await bare.commits(None, new, most=1))[0]
        since = old
        if old is None:
            default = await bare.branch(repository.default_branch)
            since = (default and await bare.merge_base(default, new)) or None
        is_tag = ref.startswith("refs/tags/")
        commits = [] if is_tag else await bare.commits(since, new, most=5)
        total = 0 if is_tag else await bare.count(since, new)
        body = self.payloads.push(repository, ref, old or ZERO, new, commits, total, head)
        self.hooks.announce(repository, "push", login, body | {"pusher": self.payloads.user(login)})

    async def test_hook(self, repository: Repository, hook: Hook, login: str) -> None:
        """Tell one hook of a push of the default branch's last commit from itself to itself."""
        bare = self.bare(repository)
        tip = await bare.branch(repository.default_branch)
        head = (await bare.commits(None, tip or "", most=1))[0]
        body = self.payloads.push(
            repository, f"refs/heads/{repository.default_branch}", head.sha, head.sha, [head], 1, head
        )
        self.hooks.test(repository, hook, login, body | {"pusher": self.payloads.user(login)})

    # --- statuses ---

    async def post_status(
        self,
        repository: Repository,
        sha: str,
        *,
        state: str,
        context: str,
        login: str,
        description: str = "",
        target_url: str = "",
    ) -> CommitStatus:
        """Record a commit status; Gitea from 1.23 on tells it by webhook, before that nothing tells."""
        if state not in RANK:
            raise GiteaError(422, f"[State]: invalid state {state}")
        if await self.bare(repository).resolve(sha) != sha:
            raise GiteaError(500, f"object does not exist [id: {sha}, rel_path: ]")
        status = CommitStatus(
            id=self.world.next_id(),
            sha=sha,
            context=context or "default",
            state=state,
            description=description,
            target_url=target_url,
            creator=login,
        )
        repository.statuses.append(status)
        self._core.changed()
        if self._core.options.gitea_at_least(1, 23):
            await self._announce_status(repository, status)
        return status

    async def _announce_status(self, repository: Repository, status: CommitStatus) -> None:
        commit = (await self.bare(repository).commits(None, status.sha, most=1))[0]
        body: Json = {
            "commit": self.payloads.commit(repository, commit, in_push=True),
            "context": status.context,
            "created_at": stamp(status.created_at),
            "description": status.description,
            "id": status.id,
            "sha": status.sha,
            "state": status.state,
            "target_url": status.target_url,
            "updated_at": stamp(status.created_at),
            "branches": [],
        }
        self.hooks.announce(repository, "status", status.creator, body)
