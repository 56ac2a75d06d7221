"""The merge styles that decide how Orch lands a change."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox

REPO = "/repos/acme/shop"


def open_pull(sandbox: SandboxClient, branch: str, name: str = "x.txt") -> tuple[int, str]:
    sha = sandbox.commit(branch, {name: f"{branch}\n"})
    with sandbox.gitea_api(sandbox.options.gitea_bot_token) as api:
        answer = api.post(f"{REPO}/pulls", json={"head": branch, "base": "main", "title": branch})
    return int(answer.json()["number"]), sha


def merge(sandbox: SandboxClient, number: int, **fields: str) -> httpx.Response:
    with sandbox.gitea_api(sandbox.options.gitea_bot_token) as api:
        return api.post(f"{REPO}/pulls/{number}/merge", json=fields)


def test_fast_forward_only_lands_exactly_the_commit(sandbox: SandboxClient) -> None:
    number, sha = open_pull(sandbox, "task/x")
    assert merge(sandbox, number, Do="fast-forward-only", head_commit_id=sha).status_code == 200
    repository = sandbox.repository()
    assert repository.main == sha
    assert repository.pull(number).merged
    assert [(one.after, one.how) for one in repository.default_pushes] == [(sha, "merge")]


def test_fast_forward_only_refuses_a_branch_that_is_behind(sandbox: SandboxClient) -> None:
    number, sha = open_pull(sandbox, "task/x")
    tip = sandbox.commit("main", {"other.txt": "x\n"})
    refused = merge(sandbox, number, Do="fast-forward-only", head_commit_id=sha)
    assert (refused.status_code, refused.json()["Style"]) == (409, "fast-forward-only")
    assert sandbox.repository().main == tip


def test_rebase_lands_new_commits_when_the_branch_is_behind(sandbox: SandboxClient) -> None:
    """Why Orch does not use it: `head_commit_id` guards the head, not the base."""
    number, sha = open_pull(sandbox, "task/x")
    tip = sandbox.commit("main", {"other.txt": "x\n"})
    assert merge(sandbox, number, Do="rebase", head_commit_id=sha).status_code == 200
    assert sandbox.repository().main not in (sha, tip)


def test_a_gitea_before_1_22_knows_no_fast_forward_only(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "sandbox", options=Options(gitea_version="1.21.11")) as sandbox:
        number, _ = open_pull(sandbox, "task/x")
        assert merge(sandbox, number, Do="fast-forward-only").status_code == 422


def test_a_repository_may_forbid_fast_forward_only_and_marking_by_hand(tmp_path: Path) -> None:
    options = Options(fast_forward_only=False, allow_manual_merge=False)
    with running_sandbox(tmp_path / "sandbox", options=options) as sandbox:
        number, sha = open_pull(sandbox, "task/x")
        assert merge(sandbox, number, Do="fast-forward-only").status_code == 405
        assert merge(sandbox, number, Do="manually-merged", MergeCommitID=sha).status_code == 405


def test_a_landed_pull_request_stays_open_until_it_is_marked_by_hand(sandbox: SandboxClient) -> None:
    number, _ = open_pull(sandbox, "task/x")
    tip = sandbox.commit("main", {"x.txt": "task/x\n"})
    assert sandbox.repository().pull(number).state == "open"
    assert merge(sandbox, number, Do="manually-merged", MergeCommitID="0" * 40).status_code == 409
    assert merge(sandbox, number, Do="manually-merged", MergeCommitID=tip).status_code == 200
    assert sandbox.repository().pull(number).merged
    assert sandbox.repository().main == tip


def test_a_branch_protected_from_everything_is_not_merged_into(sandbox: SandboxClient) -> None:
    number, sha = open_pull(sandbox, "task/x")
    sandbox.protect("all")
    refused = merge(sandbox, number, Do="fast-forward-only", head_commit_id=sha)
    assert (refused.status_code, refused.json()["message"]) == (405, "User not allowed to merge PR")
    sandbox.protect("push")
    assert merge(sandbox, number, Do="fast-forward-only", head_commit_id=sha).status_code == 200


def test_merges_at_the_same_time_merge_once(sandbox: SandboxClient) -> None:
    number, _ = open_pull(sandbox, "task/x")
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: merge(sandbox, number, Do="merge").status_code, range(3)))
    assert answers.count(200) == 1
    assert set(answers) <= {200, 405, 500}
    assert len(sandbox.repository().main_tips) == 2


def test_a_pull_request_is_found_by_its_branches_from_1_22_on(sandbox: SandboxClient) -> None:
    number, _ = open_pull(sandbox, "task/with/slashes")
    with sandbox.gitea_api() as api:
        assert api.get(f"{REPO}/pulls/main/task/with/slashes").json()["number"] == number
        assert api.get(f"{REPO}/pulls/main/task/none").status_code == 404
