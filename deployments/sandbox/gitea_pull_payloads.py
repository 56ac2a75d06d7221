"""Gitea's bodies about pull requests, field by field as recorded on Gitea 1.21."""

from deployments.sandbox.gitea_payloads import Json, RepositoryPayloads, stamp
from deployments.sandbox.gitea_state import IssueComment, Pull, Remark, Repository, Review


class GiteaPayloads(RepositoryPayloads):
    """Builds every body that Gitea sends."""

    def pull(self, repository: Repository, one: Pull) -> Json:
        """A pull request."""
        html = f"{self._url}/{repository.full_name}/pulls/{one.number}"
        return {
            "id": one.id,
            "url": html,
            "number": one.number,
            "user": self.user(one.user),
            "title": one.title,
            "body": one.body,
            "labels": [],
            "milestone": None,
            "assignee": None,
            "assignees": None,
            "requested_reviewers": None,
            "state": one.state,
            "is_locked": False,
            "comments": len(one.comments),
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "mergeable": one.mergeable,
            "merged": one.merged,
            "merged_at": stamp(one.merged_at),
            "merge_commit_sha": one.merge_commit_sha,
            "merged_by": self.user(one.merged_by),
            "allow_maintainer_edit": False,
            "base": self._end(repository, one.base, one.base_sha),
            "head": self._end(repository, one.head, one.head_sha),
            "merge_base": one.merge_base,
            "due_date": None,
            "created_at": stamp(one.created_at),
            "updated_at": stamp(one.updated_at),
            "closed_at": stamp(one.closed_at),
            "pin_order": 0,
        }

    def _end(self, repository: Repository, ref: str, sha: str) -> Json:
        repo = self.repository(repository)
        return {"label": ref, "ref": ref, "sha": sha, "repo_id": repository.id, "repo": repo}

    def review(self, repository: Repository, pull: Pull, one: Review) -> Json:
        """A review of a pull request."""
        html = f"{self._url}/{repository.full_name}/pulls/{pull.number}"
        return {
            "id": one.id,
            "user": self.user(one.user),
            "team": None,
            "state": one.state,
            "body": one.body,
            "commit_id": one.commit_id,
            "stale": one.commit_id != pull.head_sha,
            "official": one.official,
            "dismissed": False,
            "comments_count": len(one.remarks),
            "submitted_at": stamp(one.submitted_at),
            "updated_at": stamp(one.submitted_at),
            "html_url": f"{html}#issuecomment-{one.id}",
            "pull_request_url": html,
        }

    def remark(self, review: Review, one: Remark) -> Json:
        """What a review says about one line."""
        return {
            "id": one.id,
            "body": one.body,
            "user": self.user(review.user),
            "pull_request_review_id": review.id,
            "created_at": stamp(review.submitted_at),
            "updated_at": stamp(review.submitted_at),
            "path": one.path,
            "commit_id": review.commit_id,
            "original_commit_id": "",
            "diff_hunk": "",
            "position": one.position,
            "original_position": 0,
        }

    def comment(self, repository: Repository, pull: Pull, one: IssueComment) -> Json:
        """A comment on a pull request."""
        html = f"{self._url}/{repository.full_name}/pulls/{pull.number}"
        return {
            "id": one.id,
            "html_url": f"{html}#issuecomment-{one.id}",
            "pull_request_url": html,
            "issue_url": "",
            "user": self.user(one.user),
            "original_author": "",
            "original_author_id": 0,
            "body": one.body,
            "assets": [],
            "created_at": stamp(one.created_at),
            "updated_at": stamp(one.created_at),
        }

    def issue(self, repository: Repository, one: Pull) -> Json:
        """A pull request seen as an issue, as comment webhooks do."""
        return {
            "id": one.id,
            "url": f"{self.api}/repos/{repository.full_name}/issues/{one.number}",
            "html_url": f"{self._url}/{repository.full_name}/pulls/{one.number}",
            "number": one.number,
            "user": self.user(one.user),
            "original_author": "",
            "original_author_id": 0,
            "title": one.title,
            "body": one.body,
            "ref": "",
            "assets": [],
            "labels": [],
            "milestone": None,
            "assignee": None,
            "assignees": None,
            "state": one.state,
            "is_locked": False,
            "comments": len(one.comments),
            "created_at": stamp(one.created_at),
            "updated_at": stamp(one.updated_at),
            "closed_at": stamp(one.closed_at),
            "due_date": None,
            "pull_request": {"merged": one.merged, "merged_at": stamp(one.merged_at)},
            "repository": {
                "id": repository.id,
                "name": repository.name,
                "owner": repository.owner,
                "full_name": repository.full_name,
            },
            "pin_order": 0,
        }
