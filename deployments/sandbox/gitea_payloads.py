"""Gitea's answers and webhook bodies, field by field as recorded on Gitea 1.21."""

from datetime import datetime

from deployments.sandbox.git import ZERO, Commit
from deployments.sandbox.gitea_state import CommitStatus, GiteaUser, Hook, Repository

Json = dict[str, object]

RANK = ("success", "warning", "pending", "failure", "error")
"""Commit states from best to worst; the combined state is the worst of the latest per context."""


def stamp(moment: datetime | None) -> str | None:
    """A time as Gitea writes it: UTC with whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


class RepositoryPayloads:
    """Bodies about users, repositories, commits and hooks; knows the public address and the users."""

    def __init__(self, url: str, users: list[GiteaUser], *, fast_forward_known: bool) -> None:
        self._url = url
        self._users = users
        self._fast_forward_known = fast_forward_known

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"{self._url}/api/v1"

    def error(self, message: str, **more: object) -> Json:
        """The body of a refused call."""
        return {"message": message, "url": f"{self._url}/api/swagger"} | more

    # --- users and repositories ---

    def user(self, login: str | None) -> Json | None:
        """A user by login."""
        found = next((one for one in self._users if one.login == login), None)
        return None if found is None else self._account(found.id, found.login, found.email, stamp(found.created_at))

    def _account(self, number: int, login: str, email: str, created: str | None) -> Json:
        return {
            "id": number,
            "login": login,
            "login_name": "",
            "full_name": "",
            "email": email,
            "avatar_url": f"{self._url}/avatars/{login}",
            "language": "",
            "is_admin": False,
            "last_login": "0001-01-01T00:00:00Z",
            "created": created,
            "restricted": False,
            "active": True,
            "prohibit_login": False,
            "location": "",
            "website": "",
            "description": "",
            "visibility": "public",
            "followers_count": 0,
            "following_count": 0,
            "starred_repos_count": 0,
            "username": login,
        }

    def repository(self, one: Repository, *, writer: bool = False) -> Json:
        """A repository; the merge styles are those that the sandbox really has."""
        html = f"{self._url}/{one.full_name}"
        body: Json = {
            "id": one.id,
            "owner": self._account(1000, one.owner, "", stamp(one.created_at)),
            "name": one.name,
            "full_name": one.full_name,
            "description": "",
            "empty": False,
            "private": False,
            "fork": False,
            "template": False,
            "parent": None,
            "mirror": False,
            "size": 25,
            "language": "",
            "languages_url": f"{self.api}/repos/{one.full_name}/languages",
            "html_url": html,
            "url": f"{self.api}/repos/{one.full_name}",
            "link": "",
            "ssh_url": f"git@localhost:{one.full_name}.git",
            "clone_url": f"{html}.git",
            "original_url": "",
            "website": "",
            "stars_count": 0,
            "forks_count": 0,
            "watchers_count": 1,
            "open_issues_count": 0,
            "open_pr_counter": sum(pull.state == "open" for pull in one.pulls),
            "release_counter": 0,
            "default_branch": one.default_branch,
            "archived": False,
            "created_at": stamp(one.created_at),
            "updated_at": stamp(one.updated_at),
            "archived_at": "1970-01-01T00:00:00Z",
            "permissions": {"admin": False, "push": writer, "pull": True},
            "has_issues": True,
            "internal_tracker": {
                "enable_time_tracker": True,
                "allow_only_contributors_to_track_time": True,
                "enable_issue_dependencies": True,
            },
            "has_wiki": True,
            "has_pull_requests": True,
            "has_projects": True,
            "has_releases": True,
            "has_packages": True,
            "has_actions": False,
            "ignore_whitespace_conflicts": False,
            "allow_merge_commits": True,
            "allow_rebase": True,
            "allow_rebase_explicit": False,
            "allow_squash_merge": False,
            "allow_rebase_update": True,
            "default_delete_branch_after_merge": False,
            "default_merge_style": "merge",
            "default_allow_maintainer_edit": False,
            "avatar_url": "",
            "internal": False,
            "mirror_interval": "",
            "mirror_updated": "0001-01-01T00:00:00Z",
            "repo_transfer": None,
        }
        if self._fast_forward_known:
            body["allow_fast_forward_only_merge"] = one.allow_fast_forward_only_merge
        return body

    def hook(self, one: Hook) -> Json:
        """A webhook; its secret is never told."""
        return {
            "id": one.id,
            "type": "gitea",
            "branch_filter": one.branch_filter,
            "config": {"content_type": one.content_type, "url": one.url},
            "events": one.events,
            "authorization_header": "",
            "active": one.active,
            "updated_at": stamp(one.updated_at),
            "created_at": stamp(one.created_at),
        }

    # --- commits, branches, statuses ---

    def commit(self, repository: Repository, one: Commit, *, in_push: bool) -> Json:
        """A commit; only a push says which files it touched, and only the API speaks of its signature."""
        unsigned = {"verified": False, "reason": "gpg.error.not_signed_commit", "signature": "", "signer": None}
        return {
            "id": one.sha,
            "message": one.message,
            "url": f"{self._url}/{repository.full_name}/commit/{one.sha}",
            "author": self._signature(one.author),
            "committer": self._signature(one.committer),
            "verification": None if in_push else unsigned | {"payload": ""},
            "timestamp": stamp(one.at),
            "added": list(one.added) if in_push else None,
            "removed": list(one.removed) if in_push else None,
            "modified": list(one.modified) if in_push else None,
        }

    def _signature(self, who: tuple[str, str]) -> Json:
        name, email = who
        login = next((one.login for one in self._users if one.email == email), "")
        return {"name": name, "email": email, "username": login}

    def branch(self, repository: Repository, name: str, commit: Commit, *, writer: bool) -> Json:
        """A branch with the commit that it stands on."""
        protected = name == repository.default_branch and bool(repository.protection)
        return {
            "name": name,
            "commit": self.commit(repository, commit, in_push=False),
            "protected": protected,
            "required_approvals": 0,
            "enable_status_check": False,
            "status_check_contexts": [],
            "user_can_push": writer and not protected,
            "user_can_merge": writer and repository.protection != "all",
            "effective_branch_protection_name": name if protected else "",
        }

    def status(self, repository: Repository, one: CommitStatus) -> Json:
        """One commit status."""
        return {
            "id": one.id,
            "status": one.state,
            "target_url": one.target_url,
            "description": one.description,
            "url": f"{self.api}/repos/{repository.full_name}/statuses/{one.sha}",
            "context": one.context,
            "creator": self.user(one.creator),
            "created_at": stamp(one.created_at),
            "updated_at": stamp(one.created_at),
        }

    def latest_statuses(self, repository: Repository, sha: str) -> list[CommitStatus]:
        """The latest status of each context."""
        latest: dict[str, CommitStatus] = {}
        for one in repository.statuses:
            if one.sha == sha:
                latest.pop(one.context, None)
                latest[one.context] = one
        return list(latest.values())

    def combined_status(self, repository: Repository, page: list[CommitStatus]) -> Json:
        """One page of latest statuses, its worst and its own count; nearly everything is empty without any."""
        return {
            "state": max((one.state for one in page), key=RANK.index, default=""),
            "sha": page[0].sha if page else "",
            "total_count": len(page),
            "statuses": [self.status(repository, one) for one in page] or None,
            "repository": self.repository(repository, writer=True) if page else None,
            "commit_url": "",
            "url": "",
        }

    def push(
        self, repository: Repository, ref: str, before: str, after: str, commits: list[Commit], total: int, head: Commit
    ) -> Json:
        """A push webhook without repository and sender. `commits` is at most five, newest first."""
        span = f"{repository.default_branch if before == ZERO else before}...{after}"
        return {
            "ref": ref,
            "before": before,
            "after": after,
            "compare_url": f"{self._url}/{repository.full_name}/compare/{span}",
            "commits": [self.commit(repository, one, in_push=True) for one in commits],
            "total_commits": total,
            "head_commit": self.commit(repository, head, in_push=True),
        }
