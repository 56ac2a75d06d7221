"""Git over HTTP against the sandbox: real clones, real pushes, and what the forge makes of them."""

import os
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from tests.deployments.sandbox.clones import commit, git
from tests.deployments.sandbox.receiver import Receiver


@pytest.fixture
def clone(sandbox: SandboxClient, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", sandbox.clone_url_with_token(), "clone")
    return tmp_path / "clone"


def test_git_without_a_token_is_asked_for_one(sandbox: SandboxClient, tmp_path: Path) -> None:
    refused = git(tmp_path, "clone", "-q", sandbox.clone_url(), "anonymous", check=False)
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    wrong = git(tmp_path, "clone", "-q", sandbox.clone_url_with_token(token="nope"), "wrong", check=False)
    assert "Authentication failed" in wrong.stderr


def test_git_takes_a_token_in_an_extra_header(sandbox: SandboxClient, tmp_path: Path) -> None:
    header = f"http.extraHeader=Authorization: token {sandbox.options.gitea_bot_token}"
    git(tmp_path, "-c", header, "clone", "-q", sandbox.clone_url(), "clone")
    assert (tmp_path / "clone" / "shop" / "pricing.py").exists()


def test_a_reader_may_clone_but_not_push(sandbox: SandboxClient, tmp_path: Path) -> None:
    url = sandbox.clone_url_with_token(token=sandbox.options.gitea_reader_token)
    git(tmp_path, "clone", "-q", url, "clone")
    commit(tmp_path / "clone", "x.txt")
    assert git(tmp_path / "clone", "push", "-q", "origin", "HEAD:task/x", check=False).returncode != 0
    assert "task/x" not in sandbox.repository().branches


def test_a_pushed_branch_is_told_by_create_and_push_and_a_deleted_one_by_delete(
    sandbox: SandboxClient, clone: Path, receiver: Receiver
) -> None:
    sandbox.ci("off")
    sandbox.gitea_webhook(receiver.url, "s")
    sha = commit(clone, "x.txt")
    git(clone, "push", "-q", "origin", "HEAD:task/x")
    git(clone, "push", "-q", "origin", ":task/x")
    told = [one.header("X-Gitea-Event-Type") for one in receiver.wait_count(3)]
    assert told == ["create", "push", "delete"]
    push = receiver.got[1].body
    assert (push["after"], push["pusher"]["login"], push["commits"][0]["added"]) == (sha, "ada", ["x.txt"])


def test_a_task_branch_may_be_forced_and_its_pull_request_follows(sandbox: SandboxClient, clone: Path) -> None:
    commit(clone, "x.txt")
    git(clone, "push", "-q", "origin", "HEAD:task/x")
    with sandbox.gitea_api() as api:
        api.post("/repos/acme/shop/pulls", json={"head": "task/x", "base": "main", "title": "X"})
    git(clone, "commit", "-q", "--amend", "-m", "Rewritten")
    new = git(clone, "rev-parse", "HEAD").stdout.strip()
    git(clone, "push", "-q", "--force", "origin", "HEAD:task/x")
    assert sandbox.repository().pull(1).head_sha == new


def test_every_tip_of_the_default_branch_is_remembered_in_order(sandbox: SandboxClient, clone: Path) -> None:
    seed = git(clone, "rev-parse", "HEAD").stdout.strip()
    first = commit(clone, "a.txt")
    git(clone, "push", "-q", "origin", "HEAD:main")
    second = commit(clone, "b.txt")
    git(clone, "push", "-q", "origin", "HEAD:main")
    repository = sandbox.repository()
    assert repository.main_tips == [seed, first, second]
    assert [(one.before, one.after, one.user, one.how) for one in repository.default_pushes] == [
        (seed, first, "ada", "push"),
        (first, second, "ada", "push"),
    ]


def test_the_default_branch_can_be_neither_forced_nor_deleted(sandbox: SandboxClient, clone: Path) -> None:
    tip = commit(clone, "a.txt")
    git(clone, "push", "-q", "origin", "HEAD:main")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    commit(clone, "other.txt")
    forced = git(clone, "push", "-q", "--force", "origin", "HEAD:main", check=False)
    assert "protected from force push" in forced.stderr
    assert git(clone, "push", "-q", "origin", ":main", check=False).returncode != 0
    assert sandbox.repository().main == tip


def test_a_protected_default_branch_takes_no_push_until_it_is_free_again(sandbox: SandboxClient, clone: Path) -> None:
    sandbox.protect("push")
    tip = commit(clone, "a.txt")
    refused = git(clone, "push", "-q", "origin", "HEAD:main", check=False)
    assert "Not allowed to push to protected branch main" in refused.stderr
    git(clone, "push", "-q", "origin", "HEAD:task/x")
    sandbox.protect("")
    git(clone, "push", "-q", "origin", "HEAD:main")
    assert sandbox.repository().main == tip


def test_a_large_push_arrives_although_git_compresses_it(sandbox: SandboxClient, clone: Path) -> None:
    """Above 1 MiB git streams the body in chunks and the refs negotiation may be gzipped."""
    (clone / "big.bin").write_bytes(os.urandom(3_000_000))
    sha = commit(clone, "small.txt")
    git(clone, "push", "-q", "origin", "HEAD:task/big")
    assert sandbox.repository().branches["task/big"] == sha
