"""Staging and production: an address that stays, a real process behind it, and faults on request."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.sandbox.client import SandboxClient, SandboxError
from deployments.sandbox.running import running_sandbox
from deployments.sandbox.state import StandName
from tests.deployments.sandbox.stand_desk import StandDesk


def health(sandbox: SandboxClient, stand: StandName = "production") -> httpx.Response:
    return httpx.get(f"{sandbox.stand_url(stand)}/health", trust_env=False, timeout=20)


def deployed(sandbox: SandboxClient, text: str = "x\n") -> str:
    """A commit that was staged and deployed."""
    sandbox.ci("off")
    sha, desk = sandbox.commit("task/x", {"x.txt": text}), StandDesk(sandbox)
    assert [desk.stage(sha).code, desk.deploy(sha).code] == [0, 0]
    return sha


def test_production_runs_the_first_commit_once_somebody_asks(sandbox: SandboxClient) -> None:
    first = sandbox.repository().main
    seen = sandbox.stand("production")
    assert (seen.revision, seen.running, seen.deploys) == (first, False, [])
    sandbox.commit("main", {"later.txt": "x\n"})
    assert (health(sandbox).status_code, health(sandbox).json()) == (200, {"status": "ok", "revision": first})
    assert sandbox.stand("production").running
    quote = httpx.get(f"{sandbox.stand_url('production')}/quote?prices=6000&percent=10", trust_env=False)
    assert quote.json() == {"goods": 5400, "shipping": 0, "total": 5400, "revision": first}


def test_staging_runs_nothing_at_first(sandbox: SandboxClient) -> None:
    answer = health(sandbox, "staging")
    assert (answer.status_code, answer.json()) == (502, {"error": "Nothing was deployed to staging yet."})
    assert sandbox.stand("staging").revision is None


def test_an_unhealthy_stand_answers_500_as_often_as_asked(sandbox: SandboxClient) -> None:
    sandbox.break_stand("production", "unhealthy", 2)
    assert [health(sandbox).status_code for _ in range(3)] == [500, 500, 200]
    sandbox.break_stand("production", "unhealthy")
    assert [health(sandbox).status_code for _ in range(3)] == [500, 500, 500]
    sandbox.mend_stand("production")
    assert health(sandbox).status_code == 200


def test_a_slow_stand_answers_late_until_it_is_mended(sandbox: SandboxClient) -> None:
    sandbox.break_stand("production", "slow", seconds=60)
    with ThreadPoolExecutor() as threads:
        late = threads.submit(health, sandbox)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{sandbox.stand_url('production')}/health", trust_env=False, timeout=0.3)
        sandbox.mend_stand("production")
        assert late.result().status_code == 200


def test_a_slow_hook_is_under_way_until_its_time_is_over(sandbox: SandboxClient) -> None:
    sha = deployed(sandbox)
    sandbox.break_stand("production", "slow_hook", seconds=60)
    with ThreadPoolExecutor() as threads:
        late = threads.submit(StandDesk(sandbox).deploy, sha)
        sandbox.wait_until(lambda state: state.stands["production"].hooks_under_way == ["deploy"])
        assert len(sandbox.stand("production").deploys) == 1
        sandbox.mend_stand("production")
        assert late.result().code == 0
    assert len(sandbox.stand("production").deploys) == 2


def test_an_outdated_stand_names_the_revision_that_ran_before(sandbox: SandboxClient) -> None:
    first, second = sandbox.repository().main, deployed(sandbox)
    sandbox.break_stand("production", "old_revision", 1)
    assert [health(sandbox).json()["revision"] for _ in range(2)] == [first, second]
    third = deployed(sandbox, "y\n")
    sandbox.break_stand("production", "old_revision", 1)
    assert [health(sandbox).json()["revision"] for _ in range(2)] == [second, third]


def test_production_answers_all_the_time_while_it_is_replaced(sandbox: SandboxClient) -> None:
    health(sandbox)
    with ThreadPoolExecutor() as threads:
        deploying = threads.submit(deployed, sandbox)
        seen = [health(sandbox)]
        while not deploying.done():
            seen.append(health(sandbox))
    assert {one.status_code for one in seen} == {200}
    assert health(sandbox).json()["revision"] == deploying.result()


def test_a_service_that_died_stays_dead_until_it_is_deployed_or_mended(sandbox: SandboxClient) -> None:
    sha = deployed(sandbox)
    for revive in (lambda: StandDesk(sandbox).deploy(sha), lambda: sandbox.mend_stand("production")):
        pid = sandbox.stand("production").pid
        assert pid is not None
        psutil.Process(pid).kill()
        sandbox.wait_until(lambda state: not state.stands["production"].running)
        answer = health(sandbox)
        assert (answer.status_code, "has ended" in answer.json()["error"]) == (502, True)
        revive()
        assert health(sandbox).json()["revision"] == sha


def test_clearing_all_faults_mends_the_stands(sandbox: SandboxClient) -> None:
    sandbox.break_stand("production", "unhealthy")
    sandbox.clear_faults()
    assert health(sandbox).status_code == 200


def test_services_end_with_the_sandbox_and_come_back_with_it(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "one") as sandbox:
        sha = deployed(sandbox)
        pids = [one.pid for one in sandbox.state().stands.values()]
        sandbox.flush()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    for root in ("one", "two"):
        with running_sandbox(tmp_path / root) as again:
            assert {health(again, stand).json()["revision"] for stand in again.state().stands} == {sha}
            assert len(again.stand("production").deploys) == 1


def test_a_mistake_in_a_call_about_stands_is_explained(sandbox: SandboxClient) -> None:
    with pytest.raises(SandboxError, match="There is no fault sleepy of a stand"):
        sandbox.break_stand("production", "sleepy")  # type: ignore[arg-type]
    with pytest.raises(SandboxError, match="only hook faults know a hook"):
        sandbox.break_stand("production", "slow", hook="deploy")
    with pytest.raises(SandboxError, match="There is no stand attic"):
        sandbox.mend_stand("attic")  # type: ignore[arg-type]
    with httpx.Client(base_url=f"{sandbox.url}/sandbox", trust_env=False) as http:
        assert http.put("/artifacts/shop:1", content=b"no archive").status_code == 400
        told = {"hook": "dance", "revision": sandbox.repository().main, "work_item": "SHOP-1"}
        assert http.post("/stands/production/run", json=told).status_code == 400
    assert not sandbox.stand("production").running
