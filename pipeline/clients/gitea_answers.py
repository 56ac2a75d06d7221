"""What matters of Gitea's answers, as measured on Gitea 1.21; and reading its lists page by page."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel

from pipeline.clients.http import Answer, HttpApi
from pipeline.model import Pull, Review, ReviewKind, ReviewRemark

Entry = TypeVar("Entry")

PAGE = 50
"""Gitea's largest page; it cuts larger ones without a word."""

_PULL_REF = "refs/pull/"

_KINDS = {
    "APPROVED": ReviewKind.APPROVED,
    "REQUEST_CHANGES": ReviewKind.REJECTED,
    "COMMENT": ReviewKind.COMMENT,
}
"""What was submitted; `PENDING` is a draft, `REQUEST_REVIEW` asks somebody for a review."""


class UserAnswer(BaseModel):
    """A user."""

    login: str


class _Permissions(BaseModel):
    admin: bool = False
    push: bool = False


class RepositoryAnswer(BaseModel):
    """A repository. Gitea before 1.22 has no fast-forward-only merge and does not send the field."""

    allow_fast_forward_only_merge: bool = False
    permissions: _Permissions = _Permissions()


class _Side(BaseModel):
    ref: str
    sha: str
    label: str = ""
    repo_id: int | None = None

    @property
    def branch(self) -> str:
        """The branch's name. Once the branch is gone `ref` is `refs/pull/<n>/head`; the label keeps it."""
        return self.label if self.ref.startswith(_PULL_REF) and self.label else self.ref


class PullAnswer(BaseModel):
    """A pull request. `base.sha` is where the base branch stands now, or stood when the pull request was merged."""

    number: int
    html_url: str
    state: str
    updated_at: datetime
    merged: bool = False
    merged_by: UserAnswer | None = None
    merge_commit_sha: str | None = None
    merge_base: str | None = None
    head: _Side
    base: _Side

    @property
    def foreign(self) -> bool:
        """Whether the branch lives in a fork, where its name says nothing about ours."""
        return self.head.repo_id != self.base.repo_id

    def as_pull(self) -> Pull:
        """As Orch's word."""
        return Pull(
            number=self.number,
            url=self.html_url,
            open=self.state == "open",
            merged=self.merged,
            branch=self.head.branch,
            head=self.head.sha,
            base=self.base.ref,
            updated_at=self.updated_at,
            merge_commit=self.merge_commit_sha,
            merged_by=self.merged_by.login if self.merged_by else None,
        )

    def connects(self, branch: str, base: str) -> bool:
        """Whether this is `branch`, of this very repository and not of a fork, wanting into `base`."""
        return not self.foreign and self.head.branch == branch and self.base.ref == base


class ReviewAnswer(BaseModel):
    """A review. A team that was asked for one is listed without a user."""

    id: int
    user: UserAnswer | None = None
    state: str
    commit_id: str
    official: bool
    stale: bool
    dismissed: bool
    submitted_at: datetime
    body: str = ""
    comments_count: int = 0

    def as_review(self) -> Review | None:
        """As Orch's word; None for what nobody has submitted."""
        if self.state not in _KINDS or self.user is None:
            return None
        return Review(
            id=self.id,
            reviewer=self.user.login,
            kind=_KINDS[self.state],
            commit=self.commit_id,
            official=self.official,
            stale=self.stale,
            dismissed=self.dismissed,
            submitted_at=self.submitted_at,
            text=self.body.strip(),
            remarks=self.comments_count,
        )


class RemarkAnswer(BaseModel):
    """A remark of a review on one line; `position` is its line, 0 for one that the file has no more."""

    path: str = ""
    position: int | None = None
    original_position: int | None = None
    body: str | None = None

    def as_remark(self) -> ReviewRemark:
        """As Orch's word. Nothing of it is necessary: a verdict does not wait for its remarks."""
        return ReviewRemark(self.path, self.position or self.original_position or 0, (self.body or "").strip())


class CommentAnswer(BaseModel):
    """A comment on an issue or a pull request."""

    id: int
    user: UserAnswer
    body: str
    created_at: datetime


async def pages(
    http: HttpApi, path: str, listed: Callable[[Answer], Sequence[Entry]], **query: str
) -> AsyncIterator[Entry]:
    """Every entry of a list, page by page; `listed` reads one page.

    Ends with the first page that is not full. Totals are not used: what Gitea calls the total count of statuses is the
    count of one page (its source). Ends, too, where a list is not cut into pages at all and comes again and again.
    """
    number, before = 0, None
    while True:
        number += 1
        page = listed(await http.call("GET", path, params={**query, "limit": PAGE, "page": number}))
        if page == before:
            return
        for entry in page:
            yield entry
        if len(page) < PAGE:
            return
        before = page
