"""Pull requests: opening, editing, reviewing, commenting, and following their branches."""

from collections.abc import Mapping

from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.gitea import Gitea, GiteaError, missing
from deployments.sandbox.gitea_state import GiteaUser, IssueComment, Pull, Remark, Repository, Review

REVIEW_EVENTS: Mapping[str, str] = {
    "APPROVED": "pull_request_review_approved",
    "REQUEST_CHANGES": "pull_request_review_rejected",
    "COMMENT": "pull_request_review_comment",
}
"""Review states and their webhook; anything else (`APPROVE` too) makes a pending review that nobody is told of."""


class Pulls:
    """The pull requests of all repositories."""

    def __init__(self, core: Core, gitea: Gitea) -> None:
        self._core = core
        self._gitea = gitea
        gitea.branch_moved.append(self._follow)

    def find(self, repository: Repository, number: int) -> Pull:
        """A pull request by number; `GiteaError` 404 when there is none."""
        for one in repository.pulls:
            if one.number == number:
                return one
        raise missing()

    async def create(self, repository: Repository, fields: Mapping[str, object], user: GiteaUser) -> Pull:
        """Open a pull request; 409 for a pair of branches that has an open one, 422 for missing fields."""
        for name in ("head", "base", "title"):
            if not fields.get(name):
                raise GiteaError(422, f"[{name.title()}]: Required")
        head, base = str(fields["head"]).rpartition(":")[2], str(fields["base"])
        self._refuse_duplicate(repository, head, base)
        bare = self._gitea.bare(repository)
        head_sha, base_sha = await bare.branch(head), await bare.branch(base)
        if head_sha is None or base_sha is None:
            raise missing()
        pull = Pull(
            id=self._gitea.world.next_id(),
            number=max((one.number for one in repository.pulls), default=0) + 1,
            user=user.login,
            title=str(fields["title"]),
            body=str(fields.get("body") or ""),
            head=head,
            base=base,
            head_sha=head_sha,
            base_sha=base_sha,
            merge_base="",
        )
        # Two requests may have looked at the branches at the same time; this is where one of them loses.
        self._refuse_duplicate(repository, head, base)
        repository.pulls.append(pull)
        await self.refresh(repository, pull)
        self._announce(repository, pull, "opened", user.login)
        return pull

    def _refuse_duplicate(self, repository: Repository, head: str, base: str) -> None:
        for one in repository.pulls:
            if one.state == "open" and (one.head, one.base) == (head, base):
                raise GiteaError(
                    409,
                    f"pull request already exists for these targets [id: {one.id}, issue_id: {one.id}, "
                    f"head_repo_id: {repository.id}, base_repo_id: {repository.id}, "
                    f"head_branch: {head}, base_branch: {base}]",
                )

    async def edit(self, repository: Repository, pull: Pull, fields: Mapping[str, object], login: str) -> None:
        """Change title, body or state. Closing and opening again are told as `closed` and `reopened`."""
        if "title" in fields or "body" in fields:
            pull.title = str(fields.get("title", pull.title))
            pull.body = str(fields.get("body", pull.body))
            pull.updated_at = now()
            self._announce(repository, pull, "edited", login)
        state = fields.get("state")
        if state == "closed" and pull.state == "open":
            await self.refresh(repository, pull)
            self.close(repository, pull, login)
        elif state == "open" and pull.state == "closed" and not pull.merged:
            pull.state, pull.closed_at, pull.updated_at = "open", None, now()
            self._announce(repository, pull, "reopened", login)

    def close(self, repository: Repository, pull: Pull, login: str) -> None:
        """Close a pull request, merged or not, and tell so."""
        pull.state, pull.closed_at, pull.updated_at = "closed", now(), now()
        self._announce(repository, pull, "closed", login)

    async def refresh(self, repository: Repository, pull: Pull) -> None:
        """Bring an open pull request's commits and its mergeability up to date."""
        if pull.state != "open":
            return
        bare = self._gitea.bare(repository)
        pull.head_sha = await bare.branch(pull.head) or pull.head_sha
        pull.base_sha = await bare.branch(pull.base) or pull.base_sha
        if pull.mergeable_for == _pair(pull):
            return
        looked_at = _pair(pull)
        pull.merge_base = await bare.merge_base(pull.base_sha, pull.head_sha)
        tree, _ = await bare.merged_tree(pull.base_sha, pull.head_sha)
        pull.mergeable = tree is not None and not pull.title.upper().startswith(("WIP:", "[WIP]"))
        pull.mergeable_for = looked_at
        self._core.changed()

    def mergeability_known(self, pull: Pull) -> bool:
        """Whether the last look at mergeability was about the commits that the pull request has now."""
        return pull.mergeable_for == _pair(pull)

    async def review(self, repository: Repository, pull: Pull, fields: Mapping[str, object], user: GiteaUser) -> Review:
        """Submit a review; 422 for a verdict on one's own pull request."""
        event = str(fields.get("event") or "PENDING")
        if event in ("APPROVED", "REQUEST_CHANGES") and user.login == pull.user:
            verb = "approve" if event == "APPROVED" else "reject"
            raise GiteaError(422, f"{verb} your own pull is not allowed")
        await self.refresh(repository, pull)
        counts = user.writer and event in ("APPROVED", "REQUEST_CHANGES")
        for earlier in pull.reviews if counts else ():
            if earlier.user == user.login:
                earlier.official = False
        review = Review(
            id=self._gitea.world.next_id(),
            user=user.login,
            state=event if event in REVIEW_EVENTS else "PENDING",
            body=str(fields.get("body") or ""),
            commit_id=str(fields.get("commit_id") or pull.head_sha),
            official=counts,
            remarks=[self._remark(one) for one in _objects(fields.get("comments"))],
        )
        pull.reviews.append(review)
        pull.updated_at = now()
        self._core.changed()
        kind = REVIEW_EVENTS.get(event)
        if kind:
            self._announce(
                repository, pull, "reviewed", user.login, kind, review={"type": kind, "content": review.body}
            )
        return review

    def _remark(self, fields: Mapping[str, object]) -> Remark:
        return Remark(
            id=self._gitea.world.next_id(),
            path=str(fields.get("path") or ""),
            position=int(str(fields.get("new_position") or 0)),
            body=str(fields.get("body") or ""),
        )

    def comment(self, repository: Repository, pull: Pull, text: str, login: str) -> IssueComment:
        """Write a comment on a pull request."""
        comment = IssueComment(id=self._gitea.world.next_id(), user=login, body=text)
        issue = self._gitea.payloads.issue(repository, pull)
        pull.comments.append(comment)
        pull.updated_at = now()
        body = {
            "action": "created",
            "issue": issue,
            "comment": self._gitea.payloads.comment(repository, pull, comment),
            "is_pull": True,
        }
        self._gitea.hooks.announce(repository, "pull_request_comment", login, body)
        return comment

    async def _follow(self, repository: Repository, branch: str, new: str | None, login: str) -> None:
        for pull in repository.pulls:
            if pull.state != "open" or pull.head != branch:
                continue
            if new is None:
                self.close(repository, pull, login)
                continue
            pull.head_sha, pull.updated_at = new, now()
            # False here means "still checking" (measured on Gitea 1.21); the next look computes it.
            pull.mergeable = False
            self._announce(repository, pull, "synchronized", login, "pull_request_sync")

    def _announce(
        self,
        repository: Repository,
        pull: Pull,
        action: str,
        login: str,
        event_type: str = "pull_request",
        *,
        review: Mapping[str, object] | None = None,
    ) -> None:
        body = {
            "action": action,
            "number": pull.number,
            "pull_request": self._gitea.payloads.pull(repository, pull),
            "requested_reviewer": None,
            "commit_id": "",
            "review": review,
        }
        self._gitea.hooks.announce(repository, event_type, login, body)


def _pair(pull: Pull) -> str:
    return f"{pull.base_sha} {pull.head_sha}"


def _objects(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
