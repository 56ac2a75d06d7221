"""What is made of what can be seen of a started item."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session

from deployments.staging_check.mode import Mode
from deployments.staging_check.start import judge, see
from pipeline.model import AgentEnd, AgentOutcome, Answer, GateResult, Hold, Usage, WorkItem
from pipeline.stages import ENTRY_GATE, Role, Stage
from pipeline.store import evidence, items
from tests.support.services import Desk


def begin(desk: Desk, item: WorkItem) -> int:
    return desk.store.write(
        evidence.agent_started, item, Role.ANALYST, model="", effort="", log=Path("analyst.log"), start_commit="",
        run=None, now=desk.clock.now,
    )  # fmt: skip


def end(desk: Desk, run: int, how: AgentEnd) -> None:
    outcome = AgentOutcome(
        end=how, exit_code=1, sentence="It wrote nothing.", question="", usage=Usage(), duration_s=1.0
    )
    desk.store.write(evidence.agent_finished, run, outcome, desk.clock.now)


@pytest.mark.parametrize("mode", Mode)
def test_without_an_item_or_a_run_it_is_open(desk: Desk, mode: Mode) -> None:
    assert judge("SHOP-999", mode, desk.store.read(see, "SHOP-999")) is None
    item = desk.item()
    assert judge(item.key, mode, desk.store.read(see, item.key)) is None


def test_a_running_analyst_is_enough_for_the_stub_and_not_for_the_live_mode(desk: Desk) -> None:
    item = desk.item()
    begin(desk, item)
    seen = desk.store.read(see, item.key)
    found = judge(item.key, Mode.STUB, seen)
    assert found is not None
    assert (found.ok, found.sentence) == (True, f"{item.key} was started, and its analyst is at work.")
    assert judge(item.key, Mode.LIVE, seen) is None


@pytest.mark.parametrize("mode", Mode)
def test_an_analyst_that_has_finished_is_enough(desk: Desk, mode: Mode) -> None:
    item = desk.item()
    end(desk, begin(desk, item), AgentEnd.FINISHED)
    found = judge(item.key, mode, desk.store.read(see, item.key))
    assert found is not None
    assert (found.ok, found.sentence) == (True, f"{item.key} was started, and its analyst has finished.")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("how", [AgentEnd.FAILED, AgentEnd.TIMED_OUT, AgentEnd.IDLE])
def test_an_analyst_that_ended_otherwise_is_a_failure_with_its_log(desk: Desk, mode: Mode, how: AgentEnd) -> None:
    item = desk.item()
    end(desk, begin(desk, item), how)
    found = judge(item.key, mode, desk.store.read(see, item.key))
    assert found is not None
    assert not found.ok
    assert found.sentence == f"The analyst of {item.key} {how}: It wrote nothing. Its log is analyst.log."


def test_a_held_item_is_a_failure_with_the_reason(desk: Desk) -> None:
    item = desk.item()
    begin(desk, item)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "no disk", desk.clock.now)
    found = judge(item.key, Mode.STUB, desk.store.read(see, item.key))
    assert found is not None
    assert (found.ok, found.sentence) == (False, f"{item.key} was started and is blocked: no disk")


def test_a_card_that_intake_refused_is_a_failure_with_the_gates_sentence(desk: Desk) -> None:
    def refuse(session: Session) -> None:
        evidence.gate_answered(
            session, item_key="SHOP-998", item=None, gate=ENTRY_GATE, now=desk.clock.now, run=None,
            result=GateResult(Answer.FAIL, "The description is too short."),
        )  # fmt: skip

    desk.store.write(refuse)
    found = judge("SHOP-998", Mode.STUB, desk.store.read(see, "SHOP-998"))
    assert found is not None
    assert (found.ok, found.sentence) == (False, "SHOP-998 was not started: The description is too short.")


def test_only_the_last_run_of_the_analyst_counts(desk: Desk) -> None:
    item = desk.item()
    end(desk, begin(desk, item), AgentEnd.FAILED)
    begin(desk, item)
    seen = desk.store.read(see, item.key)
    assert judge(item.key, Mode.STUB, seen) is not None
    assert judge(item.key, Mode.LIVE, seen) is None
    assert seen.item == replace(item, stage=Stage.ANALYSIS)
