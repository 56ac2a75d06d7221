"""The sandbox's CI tests exactly the pushed commit and says so by commit status."""

from pathlib import Path

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from deployments.sandbox.views import StateView
from tests.deployments.sandbox.receiver import Receiver

BROKEN = "import unittest\n\n\nclass Broken(unittest.TestCase):\n    def test_it(self):\n        self.fail()\n"


def states(state: StateView, sha: str) -> list[str]:
    return [one.state for one in state.repositories["acme/shop"].statuses if one.sha == sha]


def test_a_green_commit_is_pending_and_then_a_success(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.gitea_webhook(receiver.url, "s")
    sha = sandbox.commit("task/green", {"new.txt": "x\n"})
    state = sandbox.wait_until(lambda seen: len(states(seen, sha)) == 2)
    assert states(state, sha) == ["pending", "success"]
    told = receiver.wait(lambda one: one.header("X-Gitea-Event-Type") == "status" and one.body["state"] == "success")
    assert (told.header("X-Gitea-Event"), told.body["sha"], told.body["context"]) == ("", sha, "ci/tests")
    assert told.body["repository"]["full_name"] == "acme/shop"


def test_a_red_commit_fails(sandbox: SandboxClient) -> None:
    sha = sandbox.commit("task/red", {"tests/test_broken.py": BROKEN})
    state = sandbox.wait_until(lambda seen: len(states(seen, sha)) == 2)
    assert states(state, sha) == ["pending", "failure"]


def test_the_same_tree_is_not_tested_twice_but_told_again(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    command = ("sh", "-c", f"echo run >> {counter}")
    with running_sandbox(tmp_path / "sandbox", options=Options(test_command=command)) as sandbox:
        first = sandbox.commit("task/one", {"new.txt": "x\n"})
        second = sandbox.commit("task/two", {"new.txt": "x\n"}, "The same files")
        state = sandbox.wait_until(lambda seen: states(seen, second)[-1:] == ["success"])
    assert first != second
    assert states(state, first) == ["pending", "success"]
    assert counter.read_text() == "run\n"


def test_a_held_ci_leaves_commits_pending_and_one_that_is_off_says_nothing(sandbox: SandboxClient) -> None:
    sandbox.ci("hold")
    held = sandbox.commit("task/held", {"h.txt": "x\n"})
    sandbox.ci("off")
    silent = sandbox.commit("task/silent", {"s.txt": "x\n"})
    state = sandbox.wait_until(lambda seen: states(seen, held) == ["pending", "success"])
    assert states(state, silent) == []


def test_no_status_webhook_is_sent_by_an_older_gitea(tmp_path: Path, receiver: Receiver) -> None:
    with running_sandbox(tmp_path / "sandbox", options=Options(gitea_version="1.22.6")) as sandbox:
        sandbox.gitea_webhook(receiver.url, "s")
        sha = sandbox.commit("task/green", {"new.txt": "x\n"})
        sandbox.wait_until(lambda seen: len(states(seen, sha)) == 2)
        with sandbox.gitea_api() as api:
            api.post("/repos/acme/shop/pulls", json={"head": "task/green", "base": "main", "title": "T"})
        receiver.wait(lambda one: one.header("X-Gitea-Event") == "pull_request")
    assert "status" not in [one.header("X-Gitea-Event-Type") for one in receiver.got]
