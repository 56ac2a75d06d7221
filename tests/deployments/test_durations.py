"""A step that may outlast a run is named before anything starts."""

import pytest

from blocks import CodingAgent
from blocks.coding_agent import RoleTerms
from deployments.durations import too_long
from pipeline.projects import Registry
from pipeline.settings import Settings
from pipeline.stages import Role
from tests.pipeline.test_projects import project


def registry(**more: object) -> Registry:
    return Registry((project(**more),))


AGENT = CodingAgent(command=["agent"])


def test_what_is_usual_takes_less_time_than_a_run_may() -> None:
    assert too_long(Settings(), registry(), AGENT) == []


@pytest.mark.parametrize(
    ("agent", "more", "what"),
    [
        (AGENT.model_copy(update={"roles": {Role.DEVELOPER: RoleTerms(timeout_s=5 * 3600)}}), {}, "of the developer"),
        (AGENT, {"test_timeout_s": 4 * 3600}, "A test run of WID"),
        (AGENT, {"test_timeout_s": 2 * 3600, "repeat_red_tests": True}, "A test run of WID"),
        (AGENT, {"hook_timeout_s": 5 * 3600}, "A hook of WID"),
    ],
)
def test_what_may_outlast_a_run_is_named(agent: CodingAgent, more: dict[str, object], what: str) -> None:
    [sentence] = too_long(Settings(), registry(**more), agent)
    assert what in sentence
    assert "ORCH_RUN_MAX_S" in sentence
