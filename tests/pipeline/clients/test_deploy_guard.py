"""The guard of a detached deploy, as a real program: it comes to its end whatever happens, and deploys once."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.clients.hooks import (
    GUARD,
    DeployPlan,
    GuardEnd,
    GuardOutcome,
    detached_program,
    guard_outcome,
    start_detached,
)
from pipeline.clients.process_identity import alive
from pipeline.model import ProcessIdentity
from tests.pipeline.clients.conftest import Replay
from tests.support.processes import becomes

FORK = multiprocessing.get_context("fork")
OLD, NEW = "a" * 40, "b" * 40
SERVES = ("/bin/sh", "-c", "cat serving")
BEGUN = "echo $ORCH_EXPECTED_REVISION >> begun; "
RUN = "echo $ORCH_EXPECTED_REVISION >> ran; "
SWITCH = RUN + "echo $ORCH_EXPECTED_REVISION > serving"


@dataclass(frozen=True)
class Stand:
    """A production of one file that says what it serves, and a deploy on it."""

    base: Path

    @property
    def folder(self) -> Path:
        return self.base / "deploys/WID-1"

    @property
    def ran(self) -> list[str]:
        """The revisions that hooks were run for, in order."""
        file = self.base / "ran"
        return file.read_text().split() if file.exists() else []

    @property
    def log(self) -> str:
        return (self.base / "guard.log").read_text()

    def plan(self, deploy: str = SWITCH, rollback: str | None = SWITCH, **changes: Any) -> DeployPlan:
        given: dict[str, Any] = {
            "probe": SERVES,
            "previous": OLD,
            "deadline": time.time() + changes.pop("within_s", 60),
            "hook_timeout_s": 60,
            "rollback_within_s": 1,
        }
        return DeployPlan(
            hook=("/bin/sh", "-c", deploy),
            rollback=("/bin/sh", "-c", rollback) if rollback else (),
            expected=NEW,
            facts={"ORCH_EXPECTED_REVISION": NEW},
            rollback_facts={"ORCH_EXPECTED_REVISION": OLD},
            cwd=self.base,
            probe_timeout_s=5,
            probe_every_s=0.02,
            **given | changes,
        )

    def start(self, plan: DeployPlan) -> ProcessIdentity:
        command = detached_program(plan, folder=self.folder, home=self.base / "home")
        return start_detached(command, cwd=self.base, environment={}, log=self.base / "guard.log")

    def end(self) -> GuardOutcome:
        """What came of it, waited for."""
        assert becomes(lambda: guard_outcome(self.folder)), self.log
        outcome = guard_outcome(self.folder)
        assert outcome is not None
        return outcome

    def carry_out(self, plan: DeployPlan) -> GuardOutcome:
        self.start(plan)
        return self.end()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    (tmp_path / "serving").write_text(f"{OLD}\n")
    return Stand(tmp_path)


# --- what comes of a deploy


def test_a_deploy_that_comes_up_healthy_is_deployed(stand: Stand) -> None:
    outcome = stand.carry_out(stand.plan(SWITCH + "; echo fine"))
    assert (outcome.end, outcome.exit_code, outcome.revision) == (GuardEnd.DEPLOYED, 0, NEW)
    assert outcome.sentence == "production serves bbbbbbbbbbbb"
    assert stand.ran == [NEW]
    assert "the deploy hook ended: exit code 0" in stand.log


def test_the_new_revision_is_waited_for(stand: Stand) -> None:
    slow = RUN + "(sleep 1; echo bbbbbbbbbb > serving) &"
    assert stand.carry_out(stand.plan(slow)).end is GuardEnd.DEPLOYED
    assert f"revision {OLD}" in stand.log


@pytest.mark.parametrize(("body", "headers"), [({"revision": NEW}, {}), ("up", {"X-Revision": NEW})])
def test_the_revision_is_asked_over_http(
    stand: Stand, replay: Replay, body: object, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    replay.on("GET", "/health", 503)
    replay.on("GET", "/health", 200, {"revision": OLD})
    replay.on("GET", "/health", 200, body, **headers)
    assert stand.carry_out(stand.plan(probe=f"{replay.url}/health")).revision == NEW
    assert len(replay.calls) == 3


@pytest.mark.parametrize("deploy", [RUN, RUN + "echo 0000000 > serving", RUN + "rm serving"])
def test_a_revision_that_does_not_come_up_in_time_is_rolled_back(stand: Stand, deploy: str) -> None:
    outcome = stand.carry_out(stand.plan(deploy, within_s=1))
    assert (outcome.end, outcome.exit_code, outcome.revision) == (GuardEnd.ROLLED_BACK, 0, OLD)
    assert outcome.sentence == "production does not serve bbbbbbbbbbbb; aaaaaaaaaaaa serves again"
    assert stand.ran == [NEW, OLD]


def test_a_healthy_answer_under_another_address_does_not_count(stand: Stand, replay: Replay) -> None:
    replay.on("GET", "/health", 302, Location=f"{replay.url}/elsewhere")
    replay.on("GET", "/elsewhere", 200, {"revision": NEW})
    outcome = stand.carry_out(stand.plan(probe=f"{replay.url}/health", within_s=0.5))
    assert outcome.end is GuardEnd.ROLLBACK_FAILED


@pytest.mark.parametrize("probe", ["http://127.0.0.1:99999/", "http://\x00/", ("no-such-probe",)])
def test_a_probe_that_cannot_work_ends_no_guard(stand: Stand, probe: Any) -> None:
    outcome = stand.carry_out(stand.plan(probe=probe, within_s=0.5, rollback_within_s=0))
    assert (outcome.end, outcome.revision) == (GuardEnd.ROLLBACK_FAILED, None)
    assert stand.ran == [NEW, OLD]


def test_a_probe_that_hangs_is_cut_off(stand: Stand) -> None:
    hangs = ("/bin/sh", "-c", "grep -q a serving && exec sleep 60; cat serving")
    plan = stand.plan(RUN + "(sleep 1; echo $ORCH_EXPECTED_REVISION > serving) &", probe=hangs)
    assert stand.carry_out(replace(plan, probe_timeout_s=0.3)).end is GuardEnd.DEPLOYED
    assert "it took too long" in stand.log


def test_a_hook_that_fails_before_it_changes_anything_needs_no_rollback(stand: Stand) -> None:
    outcome = stand.carry_out(stand.plan(RUN + "echo no disk; exit 75"))
    assert (outcome.end, outcome.exit_code, outcome.revision) == (GuardEnd.HOOK_FAILED, 75, OLD)
    assert outcome.sentence == "the deploy hook failed (exit code 75: no disk); aaaaaaaaaaaa still serves"
    assert stand.ran == [NEW]


def test_a_hook_that_fails_half_way_is_rolled_back(stand: Stand) -> None:
    outcome = stand.carry_out(stand.plan(RUN + "rm serving; exit 1"))
    assert (outcome.end, outcome.exit_code, stand.ran) == (GuardEnd.ROLLED_BACK, 1, [NEW, OLD])


def test_a_hook_that_fails_is_no_deploy_although_the_revision_serves(stand: Stand) -> None:
    assert stand.carry_out(stand.plan(SWITCH + "; exit 1")).end is GuardEnd.ROLLED_BACK


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollback": RUN + "echo no space; exit 2"}, "the rollback hook failed (exit code 2: no space)"),
        ({"rollback": RUN}, "after the rollback hook production does not serve aaaaaaaaaaaa"),
        ({"rollback": None}, "there is no rollback hook: bring production back by hand"),
        ({"previous": None}, "no earlier revision is known: bring production back by hand"),
    ],
)
def test_a_rollback_that_does_not_bring_production_back_says_so(
    stand: Stand, changes: dict[str, Any], said: str
) -> None:
    outcome = stand.carry_out(stand.plan(RUN + "rm serving", within_s=0.5, rollback_within_s=0, **changes))
    assert outcome.end is GuardEnd.ROLLBACK_FAILED
    assert said in outcome.sentence


def test_a_hook_that_takes_too_long_is_ended_with_its_group_and_may_tidy_up(stand: Stand) -> None:
    slow = RUN + "trap 'echo tidy; exit' TERM; sleep 60 & echo $! > child; wait"
    outcome = stand.carry_out(stand.plan(slow, hook_timeout_s=1))
    child = (stand.base / "child").read_text().strip()
    assert (outcome.end, outcome.exit_code) == (GuardEnd.HOOK_FAILED, None)
    assert "tidy" in outcome.sentence
    assert becomes(lambda: not Path(f"/proc/{child}/exe").exists())


def test_hooks_that_cannot_be_started_have_failed(stand: Stand) -> None:
    plan = replace(stand.plan(), cwd=stand.base / "nowhere")
    outcome = stand.carry_out(plan)
    assert (outcome.end, outcome.exit_code) == (GuardEnd.ROLLBACK_FAILED, None)
    assert "the deploy hook failed (cannot be started: " in outcome.sentence


def test_after_the_deadline_no_hook_is_started_any_more(stand: Stand) -> None:
    outcome = stand.carry_out(stand.plan(within_s=-1))
    assert (outcome.end, outcome.exit_code, stand.ran) == (GuardEnd.HOOK_FAILED, None, [])
    assert "not started before the deadline" in outcome.sentence


def test_what_a_deploy_leaves_running_stays(stand: Stand) -> None:
    outcome = stand.carry_out(stand.plan("sleep 60 & echo $! > service; " + SWITCH))
    service = int((stand.base / "service").read_text())
    os.kill(service, signal.SIGKILL)
    assert outcome.end is GuardEnd.DEPLOYED


# --- what hooks see, and what the guard needs


def test_hooks_see_the_allow_list_and_default_signals(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_GITEA_TOKEN", "swordfish")
    stand.carry_out(stand.plan(SWITCH + "; env; grep SigIgn /proc/self/status"))
    seen = (stand.folder / "deploy.log").read_text()
    assert f"HOME={stand.base}/home\n" in seen
    assert "swordfish" not in seen
    assert int(seen.split("SigIgn:")[1], 16) & 0x7FFF_FFFF == 0


def test_the_guard_needs_nothing_of_our_environment(stand: Stand) -> None:
    command = detached_program(stand.plan(), folder=stand.folder, home=stand.base / "home")
    assert not any(part.startswith((str(GUARD.parent), sys.prefix)) for part in command)
    modules = subprocess.run(
        [*command[:3], "-c", f"import sys; exec(open({command[3]!r}).read().rpartition('if __name__')[0]);"
         "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert modules.stdout.split() == ["__main__"]


# --- whatever happens


def begin(stand: Stand, plan: DeployPlan) -> None:
    os.setsid()
    stand.start(plan)
    time.sleep(60)


@pytest.mark.parametrize("moment", ["guard.log", "begun", "ran", "deploy.exit"])
def test_a_killed_starter_changes_nothing(stand: Stand, moment: str) -> None:
    plan = stand.plan(BEGUN + "sleep 0.3; " + RUN + "(sleep 0.5; echo $ORCH_EXPECTED_REVISION > serving) &")
    starter = FORK.Process(target=begin, args=(stand, plan))
    starter.start()
    seen = {"deploy.exit": stand.folder}.get(moment, stand.base) / moment
    assert becomes(seen.exists)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
        os.killpg(starter.pid or 0, number)
    starter.join()
    assert (stand.end().end, stand.ran) == (GuardEnd.DEPLOYED, [NEW])


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15])
def test_a_starter_that_is_killed_while_it_starts_is_made_good_by_the_next(stand: Stand, after_s: float) -> None:
    plan = stand.plan(BEGUN + "sleep 0.3; " + SWITCH)
    starter = FORK.Process(target=begin, args=(stand, plan))
    starter.start()
    time.sleep(after_s)
    starter.kill()
    starter.join()
    assert (stand.carry_out(plan).end, stand.ran) == (GuardEnd.DEPLOYED, [NEW])


def test_of_guards_started_at_once_one_works(stand: Stand) -> None:
    plan = stand.plan(BEGUN + "sleep 0.5; " + SWITCH)
    guards = [stand.start(plan) for _ in range(4)]
    assert stand.end().end is GuardEnd.DEPLOYED
    assert becomes(lambda: not any(map(alive, guards)))
    assert stand.ran == [NEW]
    assert stand.log.count("another guard carries this deploy out") == 3


def test_a_deploy_that_has_come_to_its_end_is_left_alone(stand: Stand) -> None:
    first = stand.carry_out(stand.plan())
    again = stand.start(stand.plan())
    assert becomes(lambda: not alive(again))
    assert (guard_outcome(stand.folder), stand.ran) == (first, [NEW])


@pytest.mark.parametrize("moment", ["begun", "ran"])
def test_a_guard_that_was_killed_goes_on_where_it_was(stand: Stand, moment: str) -> None:
    plan = stand.plan(BEGUN + "sleep 0.7; " + RUN + "(sleep 0.7; echo $ORCH_EXPECTED_REVISION > serving) &")
    guard = stand.start(plan)
    assert becomes((stand.base / moment).exists)
    assert killed(guard)
    assert (stand.carry_out(plan).end, stand.ran) == (GuardEnd.DEPLOYED, [NEW])


def test_a_guard_that_was_killed_while_it_rolled_back_rolls_back_once(stand: Stand) -> None:
    plan = stand.plan(RUN, BEGUN + "sleep 0.5; " + RUN + "echo $ORCH_EXPECTED_REVISION > serving", within_s=0.5)
    guard = stand.start(plan)
    assert becomes((stand.base / "begun").exists)
    assert killed(guard)
    assert (stand.carry_out(stand.plan(RUN)).end, stand.ran) == (GuardEnd.ROLLED_BACK, [NEW, OLD])


def test_a_hook_that_died_with_its_guard_is_run_again(stand: Stand) -> None:
    guard = stand.start(stand.plan(BEGUN + "sleep 60"))
    assert becomes((stand.base / "begun").exists)
    hook = int((stand.folder / "deploy.pid").read_text())
    assert killed(guard)
    os.killpg(hook, signal.SIGKILL)
    assert (stand.carry_out(stand.plan()).end, stand.ran) == (GuardEnd.DEPLOYED, [NEW])


def test_signals_do_not_end_a_guard(stand: Stand) -> None:
    guard = stand.start(stand.plan(BEGUN + "sleep 0.7; " + SWITCH))
    assert becomes((stand.base / "begun").exists)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.killpg(guard.pgid, number)
    assert stand.end().end is GuardEnd.DEPLOYED


def test_the_result_is_readable_by_anybody_without_us(stand: Stand) -> None:
    stand.carry_out(stand.plan())
    told = json.loads((stand.folder / "result.json").read_text())
    assert sorted(told) == ["at", "end", "exit_code", "revision", "sentence"]


def killed(who: ProcessIdentity) -> bool:
    """Kill -9; the hook, in a group of its own, goes on."""
    os.killpg(who.pgid, signal.SIGKILL)
    return becomes(lambda: not alive(who))
