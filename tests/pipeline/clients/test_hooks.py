"""A project's hooks: what they see, what their exit codes mean, and starting what outlives us."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.clients.hooks import run_hook, start_detached
from pipeline.clients.process import safe_environment
from pipeline.clients.process_identity import alive, identity, kill_group
from pipeline.errors import CouldNotRun
from pipeline.model import HookEnd, HookRun
from tests.support.processes import becomes

FORK = multiprocessing.get_context("fork")
FACTS = {"ORCH_EXPECTED_REVISION": "a" * 40, "ORCH_WORK_ITEM": "WID-1", "ORCH_ARTIFACT": "app:aaaa"}


async def hook(tmp_path: Path, script: str, timeout_s: float = 30) -> HookRun:
    return await run_hook(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        home=tmp_path / "home",
        facts=FACTS,
        log=tmp_path / "logs/hook.log",
        timeout_s=timeout_s,
    )


@pytest.mark.parametrize(
    ("script", "end", "exit_code", "sentence"),
    [
        ("echo up", HookEnd.DONE, 0, "exit code 0: up"),
        ("true", HookEnd.DONE, 0, "exit code 0"),
        ("echo starting; echo disk full >&2; echo; exit 2", HookEnd.REFUSED, 2, "exit code 2: disk full"),
        ("exit 1", HookEnd.REFUSED, 1, "exit code 1"),
        ("exit 255", HookEnd.REFUSED, 255, "exit code 255"),
        ("exit 69", HookEnd.COULD_NOT_RUN, 69, "exit code 69"),
        ("echo later; exit 75", HookEnd.COULD_NOT_RUN, 75, "exit code 75: later"),
        ("exit 126", HookEnd.COULD_NOT_RUN, 126, "exit code 126"),
        ("exit 127", HookEnd.COULD_NOT_RUN, 127, "exit code 127"),
        ("kill -KILL $$", HookEnd.COULD_NOT_RUN, 137, "ended by SIGKILL"),
    ],
)
async def test_an_exit_code_says_what_came_of_a_hook(
    tmp_path: Path, script: str, end: HookEnd, exit_code: int, sentence: str
) -> None:
    run = await hook(tmp_path, script)
    assert (run.end, run.exit_code, run.sentence) == (end, exit_code, sentence)


async def test_a_hook_that_takes_too_long_could_not_run_and_leaves_nothing_behind(tmp_path: Path) -> None:
    run = await hook(tmp_path, "sleep 60 & echo $!; wait", timeout_s=1.5)
    pid = run.output.strip()
    assert (run.end, run.exit_code) == (HookEnd.COULD_NOT_RUN, None)
    assert run.sentence == f"not finished within 1.5 s: {pid}"
    with pytest.raises(ProcessLookupError):
        identity(int(pid))


async def test_a_hook_that_cannot_be_started_is_no_verdict(tmp_path: Path) -> None:
    run = await run_hook(["./no-such-hook"], cwd=tmp_path, home=tmp_path, facts={}, log=tmp_path / "log", timeout_s=30)
    assert (run.end, run.exit_code, run.output) == (HookEnd.COULD_NOT_RUN, None, "")
    assert "./no-such-hook" in run.sentence


async def test_a_hook_sees_its_facts_and_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_GITEA_TOKEN", "swordfish")
    run = await hook(tmp_path, "env")
    seen = dict(line.split("=", 1) for line in run.output.splitlines())
    assert seen.items() >= FACTS.items()
    assert seen["HOME"] == str(tmp_path / "home")
    assert "ORCH_GITEA_TOKEN" not in seen


async def test_what_is_shown_is_the_end_of_the_log_without_control_characters(tmp_path: Path) -> None:
    script = r"yes | head -c 60000; printf '\033[31mred\033[0m \a\000 \303\251 \377\r\nlast'"
    run = await hook(tmp_path, script)
    assert len(run.output) == 20_000
    assert run.output.endswith("y\nred  é \ufffd\nlast")
    assert run.log.stat().st_size > 60_000


async def test_a_hook_that_deletes_its_log_is_judged_all_the_same(tmp_path: Path) -> None:
    run = await hook(tmp_path, f"rm {tmp_path}/logs/hook.log; exit 3")
    assert (run.end, run.sentence, run.output) == (HookEnd.REFUSED, "exit code 3", "")


# --- what outlives us


def begin(folder: Path) -> None:
    start_detached(
        ["/bin/sh", "-c", "echo $$ > pid; sleep 0.5; readlink /proc/$$/fd/0; echo $MINE; echo err >&2; echo > done"],
        cwd=folder,
        environment=safe_environment(folder, {"MINE": "yes"}),
        log=folder / "logs/log",
    )
    time.sleep(60)


def test_what_is_detached_outlives_the_killed_process_group_that_started_it(tmp_path: Path) -> None:
    starter = FORK.Process(target=lambda: (os.setsid(), begin(tmp_path)))
    starter.start()
    assert becomes((tmp_path / "pid").exists)
    os.killpg(starter.pid or 0, signal.SIGKILL)
    starter.join()
    assert becomes((tmp_path / "done").exists)
    assert (tmp_path / "logs/log").read_text() == "/dev/null\nyes\nerr\n"


def test_what_is_detached_is_known_by_its_identity_and_is_nobodys_child(tmp_path: Path) -> None:
    who = start_detached(["sleep", "60"], cwd=tmp_path, environment={}, log=tmp_path / "log")
    try:
        assert alive(who)
        assert os.getsid(who.pgid) == who.pgid
        assert f"\nPPid:\t{os.getpid()}\n" not in Path(f"/proc/{who.pgid}/status").read_text()
        assert Path(f"/proc/{who.pgid}/cmdline").read_bytes() == b"sleep\x0060\x00"
    finally:
        assert kill_group(who)


def test_what_has_ended_at_once_is_told_as_not_alive(tmp_path: Path) -> None:
    who = start_detached(["true"], cwd=tmp_path, environment={}, log=tmp_path / "log")
    assert becomes(lambda: not alive(who))


def test_a_detached_command_appends_to_its_log(tmp_path: Path) -> None:
    for word in ("one", "two"):
        start_detached(["echo", word], cwd=tmp_path, environment={}, log=tmp_path / "log")
        assert becomes(lambda: word in (tmp_path / "log").read_text())  # noqa: B023  it is called in this round
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize(("command", "folder"), [("no-such-tool", "."), ("true", "nowhere")])
def test_what_cannot_be_detached_is_said_at_once(tmp_path: Path, command: str, folder: str) -> None:
    with pytest.raises(CouldNotRun, match=command):
        start_detached([command], cwd=tmp_path / folder, environment={}, log=tmp_path / "log")
