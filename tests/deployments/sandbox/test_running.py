"""Starting, stopping and starting again: nothing that the sandbox knew is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.sandbox.client import SandboxClient, SandboxError
from deployments.sandbox.options import SAMPLE, Options
from deployments.sandbox.running import running_sandbox
from pipeline.projects import DEFAULT_STATE_NAMES, normal_name
from pipeline.stages import Status


def test_the_seed_has_a_state_for_every_status_in_the_right_group(sandbox: SandboxClient) -> None:
    with sandbox.plane_api() as api:
        project = sandbox.state().project("SHOP")
        listed = api.get(f"/projects/{project.id}/states/").json()["results"]
    found = {DEFAULT_STATE_NAMES.get(normal_name(one["name"])): one["group"] for one in listed}
    assert set(found) == set(Status) | {None}
    terminal = {status: group for status, group in found.items() if group in ("completed", "cancelled")}
    assert terminal == {
        Status.DONE: "completed",
        Status.CANCELLED: "cancelled",
        Status.STOP: "cancelled",
        Status.REJECTED: "cancelled",
    }
    assert set(project.labels) == {"autoApprove", "autoDeploy"}


def test_a_restarted_sandbox_takes_up_where_it_was(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        sandbox.ci("hold")
        key = sandbox.create_card("Kept", labels=["autoDeploy"])
        sandbox.comment(key, "And this")
        sandbox.plane_webhook("http://127.0.0.1:9/hook", "s")
        pending = sandbox.commit("task/x", {"x.txt": "x\n"})
        with sandbox.gitea_api() as api:
            api.post("/repos/acme/shop/pulls", json={"head": "task/x", "base": "main", "title": "T"})
        before = sandbox.state()
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        after = sandbox.state()
        assert (after.cards, after.repositories) == (before.cards, before.repositories)
        assert sandbox.create_card("Next") == "SHOP-2"
        sandbox.ci("run")
        sandbox.wait_until(
            lambda state: (
                state.repositories["acme/shop"].statuses[-1].state == "success"
                and state.repositories["acme/shop"].statuses[-1].sha == pending
            )
        )


def test_a_flushed_root_can_be_copied_and_run_on_its_own(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "one") as sandbox:
        key = sandbox.create_card("Copied")
        tip = sandbox.commit("main", {"x.txt": "x\n"})
        sandbox.flush()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        with running_sandbox(tmp_path / "two") as copy:
            copy.move_card(key, "Done")
            copy.commit("main", {"y.txt": "y\n"})
            assert copy.repository().main_tips[:-1] == sandbox.repository().main_tips
        assert sandbox.repository().main == tip
        assert sandbox.card(key).state == "Backlog"


def test_a_second_project_has_its_own_board_and_repository(sandbox: SandboxClient) -> None:
    sandbox.add_project("WID", "acme/widgets", name="Widgets", test_command=["true"])
    key = sandbox.create_card("A widget", project="WID")
    sha = sandbox.commit("task/w", {"w.txt": "w\n"}, repository="acme/widgets")
    sandbox.wait_until(lambda state: len(state.repositories["acme/widgets"].statuses) == 2)
    state = sandbox.state()
    assert (key, state.project("WID").name) == ("WID-1", "Widgets")
    assert state.repositories["acme/widgets"].branches["task/w"] == sha
    assert state.repositories["acme/shop"].statuses == []


def test_a_mistake_in_a_control_call_is_explained(sandbox: SandboxClient) -> None:
    key = sandbox.create_card("A card")
    with pytest.raises(SandboxError, match="There is no state Nowhere"):
        sandbox.move_card(key, "Nowhere")
    with pytest.raises(SandboxError, match="404"):
        sandbox.comment("SHOP-99", "x")


async def test_it_also_runs_beside_an_event_loop(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox") as sandbox, httpx.AsyncClient(trust_env=False) as http:
        page = await http.get(sandbox.board_url)
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "").split("<script>")[0]


def test_links_lead_somewhere_a_person_can_read(sandbox: SandboxClient) -> None:
    key = sandbox.create_card("A card")
    sandbox.commit("task/x", {"docs/brd.md": "# What\n"})
    with httpx.Client(trust_env=False) as http:
        project, card = sandbox.state().project("SHOP").id, sandbox.card(key).id
        issue = http.get(f"{sandbox.plane_url}/acme/projects/{project}/issues/{card}")
        assert issue.headers["location"] == f"/#{key}"
        file = http.get(f"{sandbox.gitea_url}/acme/shop/src/branch/task/x/docs/brd.md")
        assert file.text == "# What\n"
        assert http.get(f"{sandbox.gitea_url}/acme/shop/src/branch/task/x/none").status_code == 404


def test_the_sample_is_green_and_quick_to_test(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    subprocess.run(Options().test_command, cwd=tmp_path / "sample", check=True, capture_output=True)


@contextmanager
def started(root: Path, *more: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "deployments.sandbox", "--root", str(root), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.wait()


def test_the_program_says_where_it_listens_and_ends_on_term_even_while_a_call_hangs(tmp_path: Path) -> None:
    with started(tmp_path / "sandbox") as (process, url):
        with SandboxClient(url) as sandbox:
            key = sandbox.create_card("Kept")
            sandbox.hang("telegram")
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(f"{sandbox.telegram_url}/botx/getMe", timeout=0.2, trust_env=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    with running_sandbox(tmp_path / "sandbox") as again:
        assert again.card(key).title == "Kept"


def test_the_program_dies_with_its_parent_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.sandbox", "--root", str(tmp_path / "s"), "--die-with-parent"]
    script = f"import subprocess\nsubprocess.Popen({command!r}).wait()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(json.loads(parent.stdout.readline())["pid"])
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    child.wait(timeout=20)
    parent.stdout.close()
