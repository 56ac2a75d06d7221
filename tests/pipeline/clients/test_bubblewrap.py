"""Confined commands reach what they work on and nothing that is Orch's; nothing of them outlives their group."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from pipeline.clients import bubblewrap
from pipeline.clients.bubblewrap import Bubblewrap, sandbox_state, unavailable
from pipeline.clients.process import ProcessEnd, run, safe_environment
from pipeline.clients.process_identity import kill_group
from pipeline.errors import CouldNotRun
from pipeline.model import Room

confined_only = pytest.mark.skipif(bool(unavailable()), reason=f"commands cannot be confined: {unavailable()}")


@pytest.fixture
def state(tmp_path):
    """A state folder with a secret, a worktree and another item's."""
    for folder in ("worktrees/WID-1", "worktrees/WID-2", "home"):
        (tmp_path / "state" / folder).mkdir(parents=True)
    (tmp_path / "state/prefect-auth").write_text("s3cret")
    (tmp_path / ".env").write_text("ORCH_GITEA_TOKEN=s3cret")
    return tmp_path / "state"


@pytest.fixture
def sandbox(state):
    return Bubblewrap("required", hidden=(state, state.parent / ".env"))


@pytest.fixture
def confined(state, sandbox, tmp_path):
    """Run a shell script in the worktree of WID-1, confined; how it ended, and what it said."""

    async def confined(script, *, network=False, command=None, **options):
        tree, log = state / "worktrees/WID-1", tmp_path / "log"
        room = Room(state / "home", writable=(tree,), network=network)
        command = command or ["/bin/sh", "-c", script]
        ended = await run(
            command,
            cwd=tree,
            environment=safe_environment(state / "home"),
            log=log,
            walls=sandbox.walls(command, room, cwd=tree),
            **({"timeout_s": 30.0} | options),
        )
        return ended, log.read_text()

    return confined


@confined_only
async def test_a_confined_command_works_in_its_folder_its_home_and_a_folder_for_temporary_files(confined, state):
    ended, said = await confined('pwd; echo 1 >made; echo 2 >"$HOME/kept"; f=$(mktemp); echo $TMPDIR; exit 7')
    assert (ended.exit_code, said) == (7, f"{state}/worktrees/WID-1\n/tmp\n")
    assert (state / "worktrees/WID-1/made").read_text() == "1\n"
    assert (state / "home/kept").read_text() == "2\n"


@confined_only
async def test_it_sees_no_state_no_settings_file_and_no_other_worktree(confined, state):
    script = f"cat {state}/prefect-auth {state.parent}/.env; ls {state} {state}/worktrees; exit 0"
    _, said = await confined(script)
    assert "s3cret" not in said
    assert "WID-2" not in said
    assert "WID-1" in said


@confined_only
async def test_it_changes_nothing_outside_of_them(confined, state, tmp_path):
    _, said = await confined(
        f"echo x >{state}/worktrees/WID-2/x; echo x >{tmp_path}/x; touch /usr/x && echo written; rm -f {state}/prefect-auth"
    )
    assert not (state / "worktrees/WID-2/x").exists()
    assert not (tmp_path / "x").exists()
    assert "written" not in said
    assert (state / "prefect-auth").exists()


@confined_only
async def test_it_cannot_take_its_walls_down(confined, state):
    script = f"cd /; umount {state}; umount -l {state}; mount -t tmpfs t /mnt; cat {state}/prefect-auth; grep Cap /proc/self/status"
    _, said = await confined(script)
    assert "s3cret" not in said
    assert "CapEff:\t0000000000000000" in said


@confined_only
async def test_it_sees_no_process_of_the_host_nor_its_environment(confined):
    _, said = await confined("cat /proc/[0-9]*/environ | tr '\\0' '\\n'; ls /proc | grep -c '^[0-9]'")
    assert "PYTEST_CURRENT_TEST" not in said
    assert int(said.splitlines()[-1]) < 10


@confined_only
@pytest.mark.parametrize("network", [False, True])
async def test_the_loopback_is_its_own_unless_it_has_the_network(confined, network):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        ended, _ = await confined("", command=[sys.executable, "-c", code], network=network)
    assert (ended.exit_code == 0) is network


@confined_only
async def test_it_has_a_loopback_on_which_its_own_tests_can_listen(confined):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    assert (await confined("", command=[sys.executable, "-c", code]))[0].exit_code == 0


@confined_only
async def test_a_file_that_the_command_names_is_shown_to_it_read_only(confined, tmp_path):
    named = tmp_path / "scenario.toml"
    named.write_text("hello")
    ended, said = await confined("", command=["/bin/sh", "-c", 'cat "$0" && echo x >"$0"', str(named)])
    assert said.startswith("hello")
    assert ended.exit_code != 0


@confined_only
async def test_a_program_that_is_missing_could_not_run(confined):
    with pytest.raises(CouldNotRun, match=r"'no-such-program' cannot be started: No such file or directory"):
        await confined("", command=["no-such-program"])


@confined_only
async def test_a_sandbox_that_cannot_be_set_up_is_no_verdict_of_the_command(state, sandbox, tmp_path):
    room = Room(state / "home", writable=(state / "gone",))
    walls = sandbox.walls(["true"], room, cwd=state)
    with pytest.raises(CouldNotRun, match=r"The sandbox for the command 'true' could not be set up: bwrap: .*gone"):
        await run(["true"], cwd=state, environment={}, log=tmp_path / "log", timeout_s=30, walls=walls)


@confined_only
async def test_term_gives_it_its_grace(confined):
    script = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    ended, said = await confined(script, timeout_s=1.0)
    assert ended.reason is ProcessEnd.TIMED_OUT
    assert said.startswith("ready\n")
    assert said.endswith("cleaned up\n")


@confined_only
async def test_the_recorded_group_takes_everything_inside_with_it(confined, state):
    """Also what ignores TERM, has left the session, and was adopted by the sandbox's first process."""
    marks = []

    def started(who):
        marks.append(who)

    script = "trap '' TERM; (setsid sleep 998877 &) ; sleep 998877"

    def inside():
        return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "998877"]]

    running = asyncio.ensure_future(confined(script, started=started))
    while len(inside()) < 2:  # noqa: ASYNC110  what is looked at sets no event
        await asyncio.sleep(0.02)
    assert await asyncio.to_thread(kill_group, marks[0], grace_s=0.1)
    await running
    assert inside() == []


@confined_only
async def test_a_killed_supervisor_takes_everything_inside_with_it(confined):
    def inside():
        return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "887766"]]

    marks = []
    running = asyncio.ensure_future(confined("sleep 887766", started=marks.append))
    while not inside():  # noqa: ASYNC110  what is looked at sets no event
        await asyncio.sleep(0.02)
    os.kill(marks[0].pgid, signal.SIGKILL)
    assert (await running)[0].exit_code == 128 + signal.SIGKILL
    while inside():  # noqa: ASYNC110  the kernel ends them, in its own time
        await asyncio.sleep(0.02)


# --- without it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for cached in (unavailable, bubblewrap._say_once):
        cached.cache_clear()
    yield
    for cached in (unavailable, bubblewrap._say_once):
        cached.cache_clear()


@pytest.mark.usefixtures("not_installed")
def test_without_bubblewrap_one_warning_says_so(sandbox, state, caplog):
    room, auto = Room(state / "home"), replace(sandbox, mode="auto")
    assert [auto.walls(["true"], room, cwd=state) for _ in range(3)] == [[], [], []]
    (warned,) = caplog.messages
    assert warned.startswith("agents and tests are not confined")
    assert "apt-get install bubblewrap" in warned


@pytest.mark.usefixtures("not_installed")
def test_where_it_is_required_nothing_runs_without_it(sandbox, state):
    with pytest.raises(CouldNotRun, match=r"ORCH_SANDBOX is required.*not installed"):
        sandbox.walls(["true"], Room(state / "home"), cwd=state)


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize(
    ("mode", "said"), [("off", "ORCH_SANDBOX is off"), ("auto", "NOT confined"), ("required", "do not run")]
)
def test_the_doctor_is_told_what_is_missing(mode, said):
    assert said in sandbox_state(mode)


@confined_only
def test_the_doctor_is_told_that_all_is_well():
    assert sandbox_state("auto").startswith("Agents and tests are confined by bubblewrap")


def test_where_namespaces_are_forbidden_the_reason_is_told(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    unavailable.cache_clear()
    try:
        assert "No permissions to create new namespace" in unavailable()
    finally:
        unavailable.cache_clear()
