"""The sample shop as a web service: it serves the code of its artifact, or does not come up."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.sandbox.options import SAMPLE

COMMAND = (sys.executable, "-P", "-B", "-m", "deployments.sandbox.service", "--artifact")
REVISION = "a" * 40


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    shutil.copytree(SAMPLE, folder)
    (folder / "REVISION").write_text(f"{REVISION}\n")
    return folder


@pytest.fixture
def service(artifact: Path) -> Iterator[httpx.Client]:
    with subprocess.Popen([*COMMAND, str(artifact)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield http
        process.kill()


def test_it_says_that_it_is_well_and_which_revision_it_serves(service: httpx.Client) -> None:
    answer = service.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "revision": REVISION})


def test_it_quotes_prices_with_the_code_of_its_artifact(service: httpx.Client) -> None:
    quote = service.get("/quote", params={"prices": "1000,500", "percent": 20}).json()
    assert quote == {"goods": 1200, "shipping": 490, "total": 1690, "revision": REVISION}


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ("/quote", 400, "Say prices="),
        ("/quote?prices=ten", 400, "Say prices="),
        ("/quote?prices=100&percent=101", 400, "A discount is 0 to 100 per cent, not 101."),
        ("/elsewhere", 404, "ask for /health or /quote"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_a_reason(
    service: httpx.Client, question: str, status: int, said: str
) -> None:
    answer = service.get(question)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_code_that_fails_is_a_server_error_and_the_service_goes_on(
    artifact: Path, request: pytest.FixtureRequest
) -> None:
    (artifact / "shop" / "shipping.py").write_text("def shipping(order_total: int) -> int:\n    return 1 // 0\n")
    service: httpx.Client = request.getfixturevalue("service")
    answer = service.get("/quote?prices=100")
    assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (500, "ZeroDivisionError")
    assert service.get("/health").status_code == 200


def test_code_that_cannot_be_imported_does_not_come_up(artifact: Path) -> None:
    (artifact / "shop" / "pricing.py").write_text("def total(:\n")
    ended = subprocess.run([*COMMAND, str(artifact)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "SyntaxError" in ended.stderr


def test_it_dies_with_the_process_that_started_it(artifact: Path) -> None:
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({[*COMMAND, str(artifact)]!r}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        service = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
    service.wait(timeout=20)


def test_it_does_not_start_when_its_parent_is_gone_already(artifact: Path) -> None:
    ended = subprocess.run([*COMMAND, str(artifact), "--parent", "1"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
