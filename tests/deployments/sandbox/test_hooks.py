"""The sample project's hooks: what is built once on staging is what production runs, or the hook says why not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import SAMPLE
from deployments.sandbox.running import running_sandbox
from tests.deployments.sandbox.stand_desk import Ended, StandDesk

DEARER = {"shop/shipping.py": "def shipping(order_total: int) -> int:\n    return 900\n"}
BROKEN = {"shop/pricing.py": "def total(:\n"}


@pytest.fixture
def desk(sandbox: SandboxClient) -> StandDesk:
    sandbox.ci("off")
    return StandDesk(sandbox)


def test_a_revision_is_built_once_staged_checked_and_deployed(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    assert desk.stage(sha) == Ended(0, f"Staging runs shop:{sha}.")
    assert desk.check(sha) == Ended(0, "Staging is healthy and quotes 2100 cents.")
    assert sandbox.stand("production").revision == sandbox.repository().main
    assert desk.deploy(sha) == Ended(0, f"Production runs shop:{sha}.")
    state = sandbox.state()
    assert [one.revision for one in state.artifacts if one.name == f"shop:{sha}"] == [sha]
    for stand, hook in (("staging", "stage"), ("production", "deploy")):
        seen = sandbox.stand(stand)
        assert (seen.revision, seen.running) == (sha, True)
        assert [(one.hook, one.revision, one.work_item) for one in seen.deploys] == [(hook, sha, "SHOP-1")]


def test_staging_again_builds_nothing_and_starts_nothing_new(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    assert [desk.stage(sha).code, desk.deploy(sha).code] == [0, 0]
    before = sandbox.state()
    assert [desk.stage(sha).code, desk.deploy(sha).code] == [0, 0]
    after = sandbox.state()
    assert after.artifacts == before.artifacts
    for stand, seen in after.stands.items():
        assert seen.pid == before.stands[stand].pid
        assert len(seen.deploys) == 2


def test_production_does_not_run_what_staging_did_not_build(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    assert desk.deploy(sha) == Ended(1, f"Artifact shop:{sha} was not built; deploy it to staging first.")
    assert sandbox.stand("production").deploys == []


def test_production_does_not_run_an_artifact_of_another_revision(sandbox: SandboxClient, desk: StandDesk) -> None:
    built, other = sandbox.commit("task/one", DEARER), sandbox.commit("task/two", {"two.txt": "x\n"})
    desk.stage(built)
    refused = desk.deploy(other, ORCH_ARTIFACT=f"shop:{built}")
    assert refused == Ended(1, f"Artifact shop:{built} was built from {built}, not from {other}.")
    assert desk.stage(other, ORCH_ARTIFACT=f"shop:{built}").code == 1


def test_a_rollback_brings_back_what_ran_before_anything_was_deployed(sandbox: SandboxClient, desk: StandDesk) -> None:
    before, sha = sandbox.repository().main, sandbox.commit("task/dearer", DEARER)
    desk.stage(sha)
    desk.deploy(sha)
    assert desk.rollback(before) == Ended(0, f"Production runs {before} again.")
    production = sandbox.stand("production")
    assert production.revision == before
    assert [one.hook for one in production.deploys] == ["deploy", "rollback"]


def test_a_revision_that_does_not_come_up_is_refused_and_the_old_one_runs_on(
    sandbox: SandboxClient, desk: StandDesk
) -> None:
    good, broken = sandbox.commit("task/good", DEARER), sandbox.commit("task/broken", BROKEN)
    desk.stage(good)
    refused = desk.stage(broken)
    assert (refused.code, "does not come up: SyntaxError" in refused.said) == (1, True)
    assert desk.check(good).code == 0
    assert desk.check(broken) == Ended(1, f"Staging runs {good}, not {broken}; stage it again.")
    assert [one.revision for one in sandbox.stand("staging").deploys] == [good]


def test_a_revision_that_the_repository_does_not_have_cannot_be_built(desk: StandDesk) -> None:
    refused = desk.stage("b" * 40)
    assert (refused.code, "cannot be built" in refused.said) == (1, True)


def test_a_check_of_a_stand_where_nothing_runs_is_red(sandbox: SandboxClient, desk: StandDesk) -> None:
    assert desk.check(sandbox.repository().main) == Ended(1, "Nothing was deployed to staging yet.")


def test_hooks_that_shall_fail_say_which_kind_of_failure(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    desk.stage(sha)
    sandbox.break_stand("staging", "could_not_run", 1, hook="check")
    sandbox.break_stand("production", "refuse", 1)
    sandbox.break_stand("production", "could_not_run", 1)
    assert [desk.check(sha).code, desk.check(sha).code] == [75, 0]
    assert [desk.deploy(sha).code for _ in range(3)] == [1, 75, 0]
    assert len(sandbox.stand("production").deploys) == 1


def test_a_deploy_whose_answer_is_lost_was_done_all_the_same(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    desk.stage(sha)
    sandbox.break_stand("production", "could_not_run", 1, hook="deploy", after=True)
    assert desk.deploy(sha).code == 75
    assert sandbox.stand("production").revision == sha


def test_an_unhealthy_staging_is_red(sandbox: SandboxClient, desk: StandDesk) -> None:
    sha = sandbox.commit("task/dearer", DEARER)
    desk.stage(sha)
    sandbox.break_stand("staging", "unhealthy", 1)
    assert [desk.check(sha).code, desk.check(sha).code] == [1, 0]


def test_without_sandbox_or_gitea_nothing_could_run(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        desk = StandDesk(sandbox)
        sha = sandbox.repository().main
        sandbox.fail_next("gitea", 1, match="info/refs")
        assert desk.stage(sha).code == 75
    for ended in (desk.stage(sha), desk.check(sha), desk.deploy(sha), desk.rollback(sha)):
        assert (ended.code, "does not answer" in ended.said) == (75, True)


def test_a_hook_that_is_not_told_its_revision_is_refused(desk: StandDesk) -> None:
    assert desk.deploy("") == Ended(
        1, "The deploy hook does not know which revision: ORCH_EXPECTED_REVISION is not set."
    )


def test_coverage_of_the_sample_is_written_as_cobertura(desk: StandDesk, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "checkout")
    subprocess.run(desk.project.coverage_command, cwd=tmp_path / "checkout", check=True, capture_output=True)
    xml = (tmp_path / "checkout" / desk.project.coverage_xml).read_text()
    assert 'line-rate="1"' in xml
    assert 'filename="shop/pricing.py"' in xml
    assert "test_pricing" not in xml


def test_coverage_of_red_tests_is_red(desk: StandDesk, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "checkout")
    (tmp_path / "checkout" / "shop" / "shipping.py").write_text(DEARER["shop/shipping.py"])
    ended = subprocess.run(desk.project.coverage_command, cwd=tmp_path / "checkout", capture_output=True, check=False)
    assert ended.returncode == 1
