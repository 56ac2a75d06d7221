"""Merging a pull request through the API, with the styles and refusals as measured on Gitea 1.21."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.git import BareRepository, GitError, git
from deployments.sandbox.gitea import Gitea, GiteaError, missing
from deployments.sandbox.gitea_pulls import Pulls
from deployments.sandbox.gitea_state import GiteaUser, Pull, Repository

STYLES = ("merge", "rebase", "rebase-merge", "squash", "manually-merged")


class MergeConflict(Exception):
    """The merge itself failed: a 409 whose body is git's words, not Gitea's usual error."""

    def __init__(self, style: str, said: str) -> None:
        super().__init__(style, said)
        self.body = {"Style": style, "StdOut": said, "StdErr": "", "Err": {"Stderr": None}}


class Merger:
    """Merges pull requests, one at a time per repository."""

    def __init__(self, core: Core, gitea: Gitea, pulls: Pulls) -> None:
        self._core = core
        self._gitea = gitea
        self._pulls = pulls
        self._busy: set[tuple[str, int]] = set()

    async def merge(self, repository: Repository, pull: Pull, fields: Mapping[str, object], user: GiteaUser) -> None:
        """Merge by the style `Do`; raises `GiteaError` or `MergeConflict` as Gitea answers.

        A second call while one is under way gets a 500 although the pull request is merged once (measured).
        """
        style = str(fields.get("Do") or "")
        if style not in self._styles():
            raise GiteaError(422, "[Do]: In" if style else "[Do]: Required")
        key = (repository.full_name, pull.number)
        if key in self._busy:
            raise GiteaError(500, "")
        self._busy.add(key)
        try:
            async with self._gitea.bare(repository).lock:
                await self._merge(repository, pull, style, fields, user)
        finally:
            self._busy.discard(key)

    def _styles(self) -> tuple[str, ...]:
        return (*STYLES, "fast-forward-only") if self._core.options.gitea_at_least(1, 22) else STYLES

    async def _merge(
        self, repository: Repository, pull: Pull, style: str, fields: Mapping[str, object], user: GiteaUser
    ) -> None:
        _refuse_closed(repository, pull)
        if style == "manually-merged":
            await self._mark(repository, pull, str(fields.get("MergeCommitID") or ""), user)
            return
        await self._refuse_unmergeable(repository, pull)
        wanted = fields.get("head_commit_id")
        if wanted and wanted != pull.head_sha:
            raise GiteaError(409, "head out of date")
        new = await self._new_tip(repository, pull, style)
        old = pull.base_sha
        await self._gitea.bare(repository).move(pull.base, new, old, f"merge of pull request {pull.number}")
        pull.merge_base = await self._gitea.bare(repository).merge_base(old, pull.head_sha)
        self._finish(repository, pull, new, user)
        # On a merge through the API `closed` is sent before the push (measured on Gitea 1.21).
        await self._gitea.moved(repository, f"refs/heads/{pull.base}", old, new, user.login, how="merge")
        if fields.get("delete_branch_after_merge"):
            await self._delete_head(repository, pull, user)

    async def _refuse_unmergeable(self, repository: Repository, pull: Pull) -> None:
        if pull.title.upper().startswith(("WIP:", "[WIP]")):
            raise GiteaError(405, "Work in progress PRs cannot be merged")
        head = await self._gitea.bare(repository).branch(pull.head)
        base = await self._gitea.bare(repository).branch(pull.base)
        pull.head_sha, pull.base_sha = head or pull.head_sha, base or pull.base_sha
        if self._pulls.mergeability_known(pull) and not pull.mergeable:
            raise GiteaError(405, "Please try again later")

    async def _new_tip(self, repository: Repository, pull: Pull, style: str) -> str:
        bare = self._gitea.bare(repository)
        behind = not await bare.is_ancestor(pull.base_sha, pull.head_sha)
        if style == "fast-forward-only" and repository.allow_fast_forward_only_merge:
            if behind:
                raise MergeConflict(style, "fatal: Not possible to fast-forward, aborting.\n")
            return pull.head_sha
        if style == "rebase":
            return await _rebased(bare, pull) if behind else pull.head_sha
        if style == "merge":
            return await self._merge_commit(bare, pull)
        raise GiteaError(405, f"{style} is not allowed an allowed merge style for this repository")

    async def _merge_commit(self, bare: BareRepository, pull: Pull) -> str:
        tree, said = await bare.merged_tree(pull.base_sha, pull.head_sha)
        if tree is None:
            pull.mergeable, pull.mergeable_for = False, f"{pull.base_sha} {pull.head_sha}"
            raise MergeConflict("merge", said)
        message = f"Merge pull request '{pull.title}' (#{pull.number}) from {pull.head} into {pull.base}"
        parents = ("-p", pull.base_sha, "-p", pull.head_sha)
        return (await bare.git("commit-tree", tree, *parents, "-m", message)).strip()

    async def _mark(self, repository: Repository, pull: Pull, commit: str, user: GiteaUser) -> None:
        if not repository.allow_manual_merge:
            raise GiteaError(405, "manually-merged is not allowed an allowed merge style for this repository")
        bare = self._gitea.bare(repository)
        base = await bare.branch(pull.base)
        if await bare.resolve(commit) != commit or base is None or not await bare.is_ancestor(commit, base):
            raise GiteaError(409, "Wrong commit ID")
        pull.head_sha = await bare.branch(pull.head) or pull.head_sha
        self._finish(repository, pull, commit, user)

    def _finish(self, repository: Repository, pull: Pull, commit: str, user: GiteaUser) -> None:
        pull.merged, pull.merged_by, pull.merged_at = True, user.login, now()
        pull.merge_commit_sha, pull.base_sha, pull.mergeable = commit, commit, True
        self._pulls.close(repository, pull, user.login)

    async def _delete_head(self, repository: Repository, pull: Pull, user: GiteaUser) -> None:
        bare = self._gitea.bare(repository)
        sha = await bare.branch(pull.head)
        if sha is not None:
            await bare.delete(pull.head, sha)
            await self._gitea.moved(repository, f"refs/heads/{pull.head}", sha, None, user.login)


def _refuse_closed(repository: Repository, pull: Pull) -> None:
    if pull.merged:
        raise GiteaError(405, "")
    if pull.state != "open":
        raise missing()
    if repository.protection == "all" and pull.base == repository.default_branch:
        raise GiteaError(405, "User not allowed to merge PR")


async def _rebased(bare: BareRepository, pull: Pull) -> str:
    """The tip of the head branch rebased onto the base, made in a worktree that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="sandbox-rebase-") as folder:
        tree = Path(folder) / "tree"
        await bare.git("worktree", "add", "--quiet", "--detach", str(tree), pull.head_sha)
        try:
            await git(tree, "rebase", "--quiet", pull.base_sha)
            return (await git(tree, "rev-parse", "HEAD")).strip()
        except GitError as error:
            raise MergeConflict("rebase", error.said) from error
        finally:
            await bare.git("worktree", "remove", "--force", str(tree))
