"""The project's test command on exactly one commit."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.clients.process_identity import identity
from pipeline.errors import CouldNotRun
from pipeline.model import TestRun
from tests.pipeline.clients.origin import BRANCH, ITEM, Origin, change, git, write

SUITE = """
import unittest

class Shop(unittest.TestCase):
    def test_good(self): pass
    def test_other(self): self.assertEqual(open("value").read(), "1")
"""
COMMAND = (sys.executable, "-m", "unittest")


@pytest.fixture
def origin(origin: Origin) -> Origin:
    """The remote, with the shop's suite."""
    origin.commit({"test_shop.py": SUITE, "value": "1"})
    return origin


def leftovers(origin: Origin) -> list[str]:
    return [path.name for path in (origin.base / "state/tests/WID").glob("run-*")]


def test_green_tests_pass_on_exactly_the_commit(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace(*COMMAND)
    green = workspace.fetch()
    origin.commit({"value": "2"})
    workspace.fetch()
    run = workspace.run_tests(green, log=tmp_path / "logs/tests.log")
    assert (run.commit, run.passed, run.sentence, run.failing) == (green, True, "2 tests passed", ())
    assert "Ran 2 tests" in run.log.read_text()
    assert leftovers(origin) == []


def test_red_tests_are_named(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace(*COMMAND)
    workspace.fetch()
    red = change(workspace, {"value": "2"})
    write(workspace.worktree(ITEM, BRANCH), {"value": "1"})  # not committed: must not help
    run = workspace.run_tests(red, log=tmp_path / "log")
    assert (run.passed, run.sentence, run.failing) == (False, "1 of 2 tests failed: test_other", ("test_other",))


def test_an_exit_code_is_a_verdict(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace("/bin/sh", "-c", "exit 127")
    run = workspace.run_tests(workspace.fetch(), log=tmp_path / "log")
    assert (run.passed, run.sentence) == (False, "The test command failed with exit code 127")


def test_a_time_out_is_red_and_leaves_no_grandchild(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace("/bin/sh", "-c", "sleep 60 & echo $!; wait", timeout_s=2)
    run = workspace.run_tests(workspace.fetch(), log=tmp_path / "log")
    assert (run.passed, run.sentence) == (False, "The tests did not finish within 2 s")
    with pytest.raises(ProcessLookupError):
        identity(int(run.log.read_text()))
    assert leftovers(origin) == []


@pytest.mark.parametrize("command", ["no-such-tool", "./value"])
def test_a_command_that_cannot_be_started_is_no_verdict(origin: Origin, tmp_path: Path, command: str) -> None:
    workspace = origin.workspace(command)
    with pytest.raises(CouldNotRun, match=command):
        workspace.run_tests(workspace.fetch(), log=tmp_path / "log")
    assert leftovers(origin) == []


def test_no_secret_of_ours_is_seen_by_tests(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_GITEA_TOKEN", "swordfish")
    workspace = origin.workspace("/usr/bin/env", credentials={"GIT_CONFIG_VALUE_0": "swordfish"})
    run = workspace.run_tests(workspace.fetch(), log=tmp_path / "log")
    seen = dict(line.split("=", 1) for line in run.log.read_text().splitlines())
    assert "swordfish" not in run.log.read_text()
    assert seen["HOME"] not in (os.environ["HOME"], str(tmp_path / "home"))


def test_what_tests_do_with_git_stays_in_their_checkout(origin: Origin, tmp_path: Path) -> None:
    script = (
        "git status --porcelain && git rev-parse HEAD origin/main && git config a.b c && git branch other && git gc -q"
    )
    workspace = origin.workspace("/bin/sh", "-c", script)
    tip = workspace.fetch()
    before = (origin.base / "state/repos/WID.git/config").read_text()
    run = workspace.run_tests(tip, log=tmp_path / "log")
    assert run.passed
    assert run.log.read_text().split() == [tip, tip]
    assert (origin.base / "state/repos/WID.git/config").read_text() == before
    assert git(origin.base / "state/repos/WID.git", "for-each-ref", "refs/heads") == ""


def test_the_folder_of_a_killed_run_is_removed_by_the_next(origin: Origin, tmp_path: Path) -> None:
    killed = origin.base / "state/tests/WID/run-killed"
    write(killed, {"checkout/file": "x", "owned.lock": ""})
    workspace = origin.workspace("true")
    assert workspace.run_tests(workspace.fetch(), log=tmp_path / "log").passed
    assert leftovers(origin) == []


def test_runs_that_end_while_others_sweep_do_not_meet(origin: Origin, tmp_path: Path) -> None:
    origin.commit({f"docs/work-items/{number}/report.md": "text" for number in range(200)})
    workspace = origin.workspace("true")
    commit = workspace.fetch()

    def run(number: int) -> bool:
        return workspace.run_tests(commit, log=tmp_path / f"log-{number}").passed

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(run, range(24)))
    assert leftovers(origin) == []


# --- JUnit reports

CASES = """<testsuites><testsuite tests="3">
<testcase classname="tests.test_shop" name="test_login"><failure message="no"/></testcase>
<testcase classname="tests.test_shop" name="test_menu&#10;[a]"><error/></testcase>
<testcase classname="tests.test_shop" name="test_other"/>
<testcase classname="tests.test_shop" name="test_later"><skipped/></testcase>
</testsuite></testsuites>"""
FAILING = ("tests.test_shop::test_login", "tests.test_shop::test_menu [a]")
GREEN_CASES = '<testsuite><testcase classname="tests.test_shop" name="test_other"/></testsuite>'
PRINTED = "echo FAILED t.py::test_x; echo 1 failed, 6 passed in 0.1s; "


def reported(origin: Origin, tmp_path: Path, script: str, junit: str = "out/junit.xml") -> TestRun:
    origin.commit({"cases.xml": CASES, "green.xml": GREEN_CASES, "out/keep": ""})
    workspace = origin.workspace("/bin/sh", "-c", script, junit_xml=junit)
    return workspace.run_tests(workspace.fetch(), log=tmp_path / "log")


def test_a_report_names_the_failing_tests(origin: Origin, tmp_path: Path) -> None:
    run = reported(origin, tmp_path, PRINTED + "cp cases.xml out/junit.xml; exit 1")
    assert (run.passed, run.failing) == (False, FAILING)
    assert run.sentence == f"2 of 4 tests failed: {', '.join(FAILING)}"


def test_a_report_without_failures_makes_no_red_run_green(origin: Origin, tmp_path: Path) -> None:
    run = reported(origin, tmp_path, "cp green.xml out/junit.xml; exit 3")
    assert (run.passed, run.failing) == (False, ())
    assert run.sentence == "The test command failed with exit code 3 although no test did (1 test)"


def test_a_report_of_failures_makes_no_green_run_red(origin: Origin, tmp_path: Path) -> None:
    run = reported(origin, tmp_path, "cp cases.xml out/junit.xml")
    assert (run.passed, run.failing) == (True, ())
    assert run.sentence == "1 test passed, 1 skipped, 2 failed although the exit code is 0"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", "out/junit.xml: No such file or directory"),
        ("echo nonsense > out/junit.xml; ", "out/junit.xml is not XML that can be read: ParseError"),
        ("echo '<testsuite/>' > out/junit.xml; ", "it names no tests"),
        ("head -c 20000001 /dev/zero > out/junit.xml; ", "out/junit.xml is larger than 20 MB"),
        ("ln -s /etc/hostname out/junit.xml; ", "out/junit.xml lies outside the checkout"),
    ],
)
def test_without_a_usable_report_the_log_is_read_and_the_sentence_says_so(
    origin: Origin, tmp_path: Path, script: str, why: str
) -> None:
    run = reported(origin, tmp_path, f"{script}{PRINTED}exit 1")
    assert (run.passed, run.failing) == (False, ("test_x",))
    assert run.sentence == f"1 of 7 tests failed: test_x (the JUnit report was not used: {why})"


def test_a_report_that_was_committed_does_not_count(origin: Origin, tmp_path: Path) -> None:
    run = reported(origin, tmp_path, "true", junit="green.xml")
    assert run.sentence.startswith("The test command passed (the JUnit report was not used: green.xml: No such file")


def test_what_a_linked_folder_of_the_commit_leads_to_is_left_alone(origin: Origin, tmp_path: Path) -> None:
    write(tmp_path / "mine", {"junit.xml": GREEN_CASES})
    (origin.clone / "linked").symlink_to(tmp_path / "mine")
    run = reported(origin, tmp_path, "true", junit="linked/junit.xml")
    assert run.sentence.endswith("linked/junit.xml lies outside the checkout)")
    assert (tmp_path / "mine/junit.xml").exists()


# --- that what is tested is what the commit's id stands for


def falsify(mirror: Path, blob: str, by: str) -> None:
    """Have the object of this id hold another one's content, as whoever can write to the mirror's objects may do."""
    for pack in (mirror / "objects/pack").glob("*.pack"):
        pack.rename(mirror / "moved.pack")
        with (mirror / "moved.pack").open("rb") as packed:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=mirror, stdin=packed, check=True)
        (mirror / "moved.pack").unlink()
    file, other = (mirror / "objects" / name[:2] / name[2:] for name in (blob, by))
    file.unlink()
    file.write_bytes(other.read_bytes())


def test_a_commit_whose_files_were_falsified_in_the_mirror_is_not_tested(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace(*COMMAND)
    workspace.fetch()
    red = change(workspace, {"value": "2"})
    good = git(origin.mirror, "rev-parse", f"{origin.tip()}:value")
    falsify(origin.mirror, git(origin.mirror, "rev-parse", f"{red}:value"), by=good)
    with pytest.raises(CouldNotRun, match=rf"does not hold what {red} stands for"):
        workspace.run_tests(red, log=tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert leftovers(origin) == []


def test_tests_can_compare_with_where_the_branch_left_the_default_branch(origin: Origin, tmp_path: Path) -> None:
    workspace = origin.workspace("git", "diff", "--name-only", "origin/main...HEAD")
    workspace.fetch()
    change(workspace, {"a.txt": "a"})
    mine = change(workspace, {"b.txt": "b"})
    for number in range(4):
        origin.commit({"value": str(number)})
    workspace.fetch()
    run = workspace.run_tests(mine, log=tmp_path / "log")
    assert (run.passed, run.log.read_text().split()) == (True, ["a.txt", "b.txt"])
