"""Several processes on one mirror, and processes killed in the middle."""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.model import Landed, MovedOn, Pushed, Rebased
from tests.pipeline.clients.origin import BRANCH, ITEM, Origin, change, git, write
from tests.support.processes import becomes, exists


def child(work: Callable[..., object], *arguments: object) -> None:
    """Do `work` in a forked child and end at once: what the test's process runs at its own end is not for the child."""
    try:
        work(*arguments)
    except BaseException:  # noqa: BLE001  told, and then the child must not go on as a second test process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


FORK = multiprocessing.get_context("fork")  # from a warm parent: importing everything anew takes longer than the test


def work(origin: Origin, number: int) -> None:
    """A whole item's life, up to the push; its exit code tells whether all went well."""
    item, branch = f"WID-{number}", f"feature/WID-{number}-x"
    workspace = origin.workspace()
    for turn in range(2):
        workspace.fetch()
        change(workspace, {f"{number}.txt": str(turn)}, item, branch)
        workspace.rebase(item, workspace.fetch())
        pushed = workspace.push(item, branch, expected=workspace.remote_tip(branch))
        assert pushed == Pushed(workspace.tip(item))
    if number % 2:
        workspace.remove(item)


def test_items_in_several_processes_do_not_disturb_one_another(origin: Origin) -> None:
    processes = [FORK.Process(target=child, args=(work, origin, number)) for number in range(1, 5)]
    for process in processes:
        process.start()
    origin.commit({"meanwhile.txt": "x"})
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    workspace = origin.workspace()
    workspace.fetch()
    for number in range(1, 5):
        assert workspace.read(str(origin.tip(f"feature/WID-{number}-x")), f"{number}.txt") == "1"
    assert workspace.worktrees() == ("WID-2", "WID-4")


def land(origin: Origin, number: int, base: str, folder: Path) -> None:
    result = origin.workspace().land(str(origin.tip(f"feature/WID-{number}-x")), expected=base)
    (folder / str(number)).write_text(type(result).__name__)


def test_of_two_that_land_at_once_one_does(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace()
    base = workspace.fetch()
    for number in (1, 2):
        change(workspace, {f"{number}.txt": "x"}, f"WID-{number}", f"feature/WID-{number}-x")
        workspace.push(f"WID-{number}", f"feature/WID-{number}-x", expected=None)
    processes = [FORK.Process(target=child, args=(land, origin, number, base, tmp_path)) for number in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted((tmp_path / str(n)).read_text() for n in (1, 2)) == [Landed.__name__, MovedOn.__name__]


def keep_working(origin: Origin, onto: list[str]) -> None:
    """Make, commit, rebase to and fro, restore and remove without end; something is always half-done."""
    workspace = origin.workspace()
    while True:
        workspace.fetch()
        tip = change(workspace, {"app.txt": "mine\n", "much.txt": "x\n" * 100_000})
        for commit in onto:
            workspace.rebase(ITEM, commit)
        workspace.restore(ITEM, tip)
        workspace.remove(ITEM)


@pytest.mark.parametrize("after_s", [0.1, 0.25, 0.4, 0.55, 0.7, 0.85])
def test_what_a_killed_process_left_is_put_right(origin: Origin, after_s: float) -> None:
    easy = origin.commit({"more.txt": "x"})
    hard = origin.commit({"app.txt": "theirs\n"})
    worker = FORK.Process(target=child, args=(keep_working, origin, [easy, hard]))
    worker.start()
    time.sleep(after_s)
    worker.kill()
    worker.join()

    workspace = origin.workspace()
    assert workspace.fetch() == hard
    workspace.worktree(ITEM, BRANCH)
    workspace.restore(ITEM, easy)
    tip = change(workspace, {"a.txt": "a"})
    rebased = workspace.rebase(ITEM, hard)
    assert isinstance(rebased, Rebased)
    assert workspace.same_change((easy, tip), (hard, rebased.tip))
    assert workspace.push(ITEM, BRANCH, expected=None) == Pushed(rebased.tip)
    assert git(origin.base / "state/worktrees/WID" / ITEM, "status", "--porcelain") == ""
    git(origin.base / "state/repos/WID.git", "fsck", "--strict")


def keep_writing(folders: list[Path]) -> None:
    """As a git that goes on in what its killed process had begun."""
    while True:
        for folder in folders:
            (folder / "refs").mkdir(parents=True, exist_ok=True)


def test_git_that_outlives_its_killed_process_is_in_nobodys_way(origin: Origin) -> None:
    left = [origin.base / "state/repos" / name for name in ("WID.git.new", "WID.git.left.new")]
    orphan = FORK.Process(target=child, args=(keep_writing, left))
    orphan.start()
    try:
        assert becomes(lambda: all((folder / "refs").exists() for folder in left))
        assert origin.workspace().fetch() == origin.tip("main")
    finally:
        orphan.kill()
        orphan.join()


def push(origin: Origin) -> None:
    origin.workspace().push(ITEM, BRANCH, expected=None)


def test_a_push_dies_with_its_process_and_may_be_repeated(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace()
    workspace.fetch()
    tip = change(workspace, {"a.txt": "a"})
    pid = tmp_path / "pid"
    origin.hook("pre-receive", f"echo $$ > {pid}; exec sleep 60")
    worker = FORK.Process(
        target=child,
        args=(
            push,
            origin,
        ),
    )
    worker.start()
    assert becomes(lambda: pid.exists() and pid.read_text().endswith("\n"))
    worker.kill()
    worker.join()
    assert becomes(lambda: not exists(int(pid.read_text())))
    origin.hook("pre-receive", "exit 0")
    assert workspace.push(ITEM, BRANCH, expected=None) == Pushed(tip)


def run_tests(origin: Origin, script: str, log: Path) -> None:
    workspace = origin.workspace("/bin/sh", "-c", script)
    workspace.run_tests(workspace.fetch(), log=log)


def test_a_test_run_dies_with_its_process_and_is_swept_up(origin: Origin, tmp_path: Path) -> None:
    log = tmp_path / "log"
    worker = FORK.Process(target=child, args=(run_tests, origin, "sleep 60 & echo $!; wait", log))
    worker.start()
    assert becomes(lambda: log.exists() and log.read_text().endswith("\n"))
    worker.kill()
    worker.join()
    assert becomes(lambda: not exists(int(log.read_text())))
    run_tests(origin, "echo fine", log)
    assert list((origin.base / "state/tests/WID").glob("run-*")) == []


def test_a_running_test_run_is_not_swept_up(origin: Origin, tmp_path: Path) -> None:
    log, go_on = tmp_path / "log", tmp_path / "go-on"
    script = f"echo started; while ! [ -e {go_on} ]; do sleep 0.05; done; cat app.txt"
    worker = FORK.Process(target=child, args=(run_tests, origin, script, log))
    worker.start()
    assert becomes(lambda: log.exists() and "started" in log.read_text())
    run_tests(origin, "true", tmp_path / "other")
    write(tmp_path, {"go-on": ""})
    worker.join()
    assert (worker.exitcode, "ten" in log.read_text()) == (0, True)
