"""The whole workspace: the port that it fills, and what git must never do for an agent."""

import pytest

from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import Refused, Unavailable
from pipeline.workspace import Workspace
from tests.pipeline.clients.origin import BRANCH, ITEM, Origin, change, git, write


def test_it_fills_the_port(workspace: GitWorkspace) -> None:
    port: Workspace = workspace
    assert port.worktrees() == ()


def test_no_configuration_hook_or_environment_of_ours_reaches_git(
    origin: Origin, workspace: GitWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = origin.base / "traces"
    hooks = origin.base / "hooks"
    write(hooks, dict.fromkeys(("pre-commit", "post-checkout", "pre-push"), f"#!/bin/sh\ntouch {traces}\nexit 1\n"))
    for hook in hooks.iterdir():
        hook.chmod(0o755)
    config = origin.base / "gitconfig"
    config.write_text(
        f"[core]\n\thooksPath = {hooks}\n[user]\n\tname = Somebody\n[alias]\n\tcommit = !touch {traces}\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_TRACE", str(traces))
    tip = change(workspace, {"a.txt": "a"})
    workspace.push(ITEM, BRANCH, expected=None)
    assert git(origin.mirror, "log", "-1", "--format=%an", tip) == "Orch"
    assert not traces.exists()


def test_an_agent_cannot_make_git_run_programs(origin: Origin, workspace: GitWorkspace) -> None:
    path, traces = workspace.worktree(ITEM, BRANCH), origin.base / "traces"
    program = f'"touch {traces}"'
    evil = f'[core]\n\tfsmonitor = {program}\n[filter "x"]\n\tclean = {program}\n\tsmudge = {program}\n'
    (origin.mirror / "config").open("a").write(evil)
    for name in ("pre-commit", "post-commit", "post-checkout", "reference-transaction"):
        write(origin.mirror / "hooks", {name: f"#!/bin/sh\ntouch {traces}\n"})
        (origin.mirror / "hooks" / name).chmod(0o755)
    git(origin.base, "clone", "-q", str(origin.bare), str(path / "nested"))
    (path / "nested/.git/config").open("a").write(evil)
    (path / ".git").unlink()
    git(path, "init", "-q")
    (path / ".git/config").open("a").write(evil)
    write(path, {"nested/app.txt": "x", ".gitattributes": "* filter=x\n", "a.txt": "a"})
    workspace.commit_all(ITEM, "rest")
    tip = workspace.commit_all(ITEM, "rest")
    workspace.restore(ITEM, tip)
    assert workspace.read(tip, "a.txt") == "a"
    assert not traces.exists()


def test_credentials_stay_out_of_texts_configuration_and_local_processes(origin: Origin) -> None:
    secret = "c2VjcmV0LXRva2Vu"
    credentials = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.http://127.0.0.1:1/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {secret}",
    }
    workspace = origin.workspace(url="http://127.0.0.1:1/team/app.git", credentials=credentials)
    with pytest.raises(Unavailable) as caught:
        workspace.fetch()
    assert secret not in str(caught.value)
    assert "team/app cannot be reached" in str(caught.value)
    for path in origin.mirror.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    assert secret not in repr(vars(workspace))


def test_files_are_not_a_remote_unless_the_url_is_a_path(origin: Origin) -> None:
    with pytest.raises((Unavailable, Refused), match="not allowed"):
        origin.workspace(url="ext::sh -c whoami").fetch()
