"""The gates about staging and production: pass, fail, not applicable, and what cannot be told."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import CouldNotRun
from pipeline.gates import GATES
from pipeline.gates.look import Look
from pipeline.model import Answer, Baseline, CoverageRun, Health, Hook, HookEnd, Probed, Stand
from tests.pipeline.gates.conftest import hook_run

C, OTHER = "c" * 40, "d" * 40
HEALTHY = Probed(Health.HEALTHY, C, "200")
PROJECT = {
    "coverage_command": ("true",),
    "staging_deploy": ("true",),
    "staging_probe": "http://staging/health",
    "staging_check": ("true",),
    "deploy_hook": ("true",),
    "health_probe": "http://production/health",
}


@pytest.fixture
def staged(look):
    """A look at an item whose commit C is validated and landed, in a project that has everything."""
    item = replace(look.item, validated=C, landed=C)
    return replace(look, item=item, project=look.project.model_copy(update=PROJECT))


async def said(gate: str, look: Look) -> tuple[Answer, str]:
    result = await GATES[gate].ask(look)
    return result.answer, result.sentence


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("coverage_held", "The project measures no coverage."),
        ("staging_image_fresh", "The project has no staging."),
        ("staging_healthy", "The project has no staging check."),
        ("deploy_verified", "The project has no deploy hook: it is done when its change has landed."),
    ],
)
async def test_what_a_project_does_not_have_is_not_applicable(look, gate, sentence):
    assert await said(gate, look) == (Answer.NOT_APPLICABLE, sentence)


def measured(percent: float | None) -> CoverageRun:
    return CoverageRun(C, percent, "no report", 1.0, Path("log"))


@pytest.mark.parametrize(
    ("percent", "reached", "tolerance", "answer", "words"),
    [
        (80.0, None, 0, Answer.PASS, "80.00 %, the first that is measured"),
        (80.0, 80.0, 0, Answer.PASS, "at least 80.00 % is needed"),
        (79.99, 80.0, 0, Answer.FAIL, "falls from 80.00 % (dddddddddddd) to 79.99 %"),
        (79.5, 80.0, 1, Answer.PASS, "at least 79.00 % is needed"),
        (None, 80.0, 0, Answer.FAIL, "cannot be told: no report"),
    ],
)
async def test_coverage_is_held_against_the_baseline(staged, stands, percent, reached, tolerance, answer, words):
    stands.measured = measured(percent)
    stands.reached = Baseline(reached, OTHER) if reached else None
    project = staged.project.model_copy(update={"coverage_tolerance": tolerance})
    got, sentence = await said("coverage_held", replace(staged, project=project))
    assert got is answer
    assert words in sentence


async def test_coverage_of_another_commit_is_no_answer(staged, stands):
    stands.measured = replace(measured(99.0), commit=OTHER)
    with pytest.raises(CouldNotRun, match="was not measured"):
        await said("coverage_held", staged)


@pytest.mark.parametrize("gate", ["coverage_held", "staging_image_fresh", "staging_healthy"])
async def test_without_a_validated_commit_nothing_can_be_told(staged, gate):
    with pytest.raises(CouldNotRun, match="has been validated"):
        await said(gate, replace(staged, item=replace(staged.item, validated=None)))


async def test_staging_that_runs_the_validated_commit_is_fresh(staged, stands):
    stands.seen[Stand.STAGING] = HEALTHY
    assert await said("staging_image_fresh", staged) == (Answer.PASS, "Staging runs cccccccccccc.")


async def test_staging_that_still_runs_another_commit_is_never_green_and_costs_no_attempt(staged, stands):
    stands.seen[Stand.STAGING] = replace(HEALTHY, revision=OTHER)
    with pytest.raises(CouldNotRun, match=r"runs dddddddddddd although cccccccccccc was deployed"):
        await said("staging_image_fresh", staged)


@pytest.mark.parametrize("seen", [Probed(Health.INCONCLUSIVE, None, "404"), Probed(Health.HEALTHY, None, "200")])
async def test_staging_that_does_not_tell_its_revision_is_never_green(staged, stands, seen):
    stands.seen[Stand.STAGING] = seen
    with pytest.raises(CouldNotRun, match="Nobody can tell which revision"):
        await said("staging_image_fresh", staged)


async def test_a_change_that_staging_cannot_build_or_run_is_red(staged, stands):
    stands.seen[Stand.STAGING] = Probed(Health.DEGRADED, None, "connection refused")
    assert (await said("staging_image_fresh", staged))[0] is Answer.FAIL
    stands.ran[Hook.STAGE] = hook_run(HookEnd.REFUSED, "exit code 2: no such module")
    answer, sentence = await said("staging_image_fresh", staged)
    assert (answer, sentence) == (
        Answer.FAIL,
        "Staging cannot be built from cccccccccccc: exit code 2: no such module",
    )


async def test_where_freshness_is_switched_off_nobody_looks(staged):
    answer, sentence = await said("staging_image_fresh", replace(staged, freshness=False))
    assert answer is Answer.NOT_APPLICABLE
    assert "ORCH_IMAGE_FRESHNESS" in sentence


@pytest.mark.parametrize(("end", "answer"), [(HookEnd.DONE, Answer.PASS), (HookEnd.REFUSED, Answer.FAIL)])
async def test_the_staging_check_has_the_word(staged, stands, end, answer):
    stands.checked = hook_run(end)
    assert (await said("staging_healthy", staged))[0] is answer


async def test_a_staging_check_that_could_not_run_says_nothing(staged, stands):
    stands.checked = hook_run(HookEnd.COULD_NOT_RUN, "exit code 127")
    with pytest.raises(CouldNotRun, match="could not run: exit code 127"):
        await said("staging_healthy", staged)


async def test_production_that_runs_the_landed_commit_is_verified(staged, stands):
    stands.ran[Hook.DEPLOY] = hook_run(HookEnd.DONE)
    stands.seen[Stand.PRODUCTION] = HEALTHY
    assert await said("deploy_verified", staged) == (Answer.PASS, "Production is healthy with cccccccccccc.")


@pytest.mark.parametrize(
    ("end", "seen", "words"),
    [
        (HookEnd.REFUSED, HEALTHY, "The deploy of cccccccccccc failed"),
        (HookEnd.DONE, replace(HEALTHY, revision=OTHER), "Production runs dddddddddddd"),
        (HookEnd.DONE, replace(HEALTHY, revision=None), "a revision that it does not tell"),
        (HookEnd.DONE, Probed(Health.DEGRADED, C, "503"), "Production is degraded"),
        (HookEnd.DONE, Probed(Health.INCONCLUSIVE, None, "404"), "Production is inconclusive"),
    ],
)
async def test_anything_else_in_production_is_red(staged, stands, end, seen, words):
    stands.ran[Hook.DEPLOY] = hook_run(end)
    stands.seen[Stand.PRODUCTION] = seen
    answer, sentence = await said("deploy_verified", staged)
    assert answer is Answer.FAIL
    assert words in sentence


async def test_a_deploy_that_is_not_on_record_cannot_be_verified(staged, look):
    with pytest.raises(CouldNotRun, match="No deploy of cccccccccccc is on record"):
        await said("deploy_verified", staged)
    with pytest.raises(CouldNotRun, match="has not landed"):
        await said("deploy_verified", replace(staged, item=look.item))
