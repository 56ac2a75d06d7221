"""Looking at a running service, over real HTTP and with real commands."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.clients.probe import probe
from pipeline.model import Health, Probed
from pipeline.projects import Probe
from tests.pipeline.clients.conftest import Replay

COMMIT = "0123456789abcdef0123456789abcdef01234567"


async def look(how: Probe, tmp_path: Path, timeout_s: float = 10) -> Probed:
    return await probe(
        how, timeout_s=timeout_s, cwd=tmp_path, home=tmp_path / "home", facts={"ORCH_WORK_ITEM": "WID-1"}
    )


@contextmanager
def answering(raw: bytes | None) -> Iterator[str]:
    """A server that gives each caller these bytes and hangs up; None: it says nothing and waits for the caller."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = server.accept()
                with caller:
                    caller.recv(65_536)
                    caller.sendall(raw) if raw is not None else caller.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/health"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


# --- HTTP


@pytest.mark.parametrize(
    ("body", "headers", "revision"),
    [
        ({"revision": COMMIT, "status": "ok"}, {}, COMMIT),
        ({"status": "ok"}, {"X-Revision": COMMIT}, COMMIT),
        ("fine", {"X-Revision": f" {COMMIT} "}, COMMIT),
        ("fine", {}, None),
        ([COMMIT], {}, None),
        ({"revision": 7}, {}, None),
        ({"revision": "a\nb"}, {}, None),
        ({"revision": "long" * 100}, {}, None),
        ("[" * 60_000, {}, None),
        (" " * 70_000 + f'{{"revision": "{COMMIT}"}}', {}, None),
    ],
)
async def test_an_answer_of_200_is_healthy_and_tells_the_revision(
    replay: Replay, tmp_path: Path, body: object, headers: dict[str, str], revision: str | None
) -> None:
    replay.on("GET", "/health", 200, body, **headers)
    seen = await look(f"{replay.url}/health", tmp_path)
    assert (seen.health, seen.revision) == (Health.HEALTHY, revision)


async def test_a_look_says_what_it_saw(replay: Replay, tmp_path: Path) -> None:
    replay.on("GET", "/health", 200, {"revision": COMMIT})
    assert (await look(f"{replay.url}/health?token=swordfish", tmp_path)).sentence == (
        f"{replay.url}/health is healthy and tells revision 0123456789ab"
    )


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (500, Health.DEGRADED),
        (503, Health.DEGRADED),
        (404, Health.INCONCLUSIVE),
        (401, Health.INCONCLUSIVE),
        (429, Health.INCONCLUSIVE),
        (302, Health.INCONCLUSIVE),
        (204, Health.INCONCLUSIVE),
    ],
)
async def test_only_an_answer_of_500_and_more_speaks_against_the_service(
    replay: Replay, tmp_path: Path, status: int, health: Health
) -> None:
    replay.on("GET", "/health", status, Location=f"{replay.url}/elsewhere")
    seen = await look(f"{replay.url}/health", tmp_path)
    assert (seen.health, seen.revision) == (health, None)
    assert f"answered {status}" in seen.sentence
    assert replay.made() == [("GET", "/health")]


async def test_nobody_who_listens_is_degraded(tmp_path: Path, free_port: int) -> None:
    seen = await look(f"http://127.0.0.1:{free_port}/health", tmp_path)
    assert seen.health is Health.DEGRADED
    assert "cannot be reached" in seen.sentence


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"SSH-2.0-OpenSSH\r\n"])
async def test_a_connection_that_breaks_is_degraded(tmp_path: Path, raw: bytes) -> None:
    with answering(raw) as address:
        assert (await look(address, tmp_path)).health is Health.DEGRADED


async def test_a_service_that_does_not_answer_in_time_is_degraded(tmp_path: Path) -> None:
    with answering(None) as address:
        seen = await look(address, tmp_path, timeout_s=0.3)
    assert seen == Probed(Health.DEGRADED, None, f"{address} did not answer within 0.3 s")


@pytest.mark.parametrize(
    "address",
    ["http://no-such-host.invalid/health", "http://", "http://[::1/health", "http://127.0.0.1:99999/", "http://\x00/"],
)
async def test_an_address_that_cannot_be_asked_is_the_probes_fault(tmp_path: Path, address: str) -> None:
    assert (await look(address, tmp_path)).health is Health.INCONCLUSIVE


async def test_a_server_that_speaks_no_tls_where_it_should_is_the_probes_fault(replay: Replay, tmp_path: Path) -> None:
    seen = await look(replay.url.replace("http:", "https:"), tmp_path)
    assert seen.health is Health.INCONCLUSIVE


async def test_a_password_in_the_address_is_not_told(tmp_path: Path, free_port: int) -> None:
    seen = await look(f"http://ada:swordfish@127.0.0.1:{free_port}/health?key=swordfish", tmp_path)
    assert "swordfish" not in seen.sentence


async def test_no_proxy_of_ours_is_asked(replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    replay.on("GET", "/health", 200, {"revision": COMMIT})
    assert (await look(f"{replay.url}/health", tmp_path)).health is Health.HEALTHY


async def test_a_project_without_a_probe_cannot_be_told_about(tmp_path: Path) -> None:
    for nothing in ("", ()):
        assert (await look(nothing, tmp_path)).health is Health.INCONCLUSIVE


# --- commands


@pytest.mark.parametrize(
    ("script", "health", "revision"),
    [
        (f"echo looking; echo {COMMIT}; echo", Health.HEALTHY, COMMIT),
        ("echo 0123456", Health.HEALTHY, "0123456"),
        ("echo 012345", Health.HEALTHY, None),
        ("echo all is well", Health.HEALTHY, None),
        ("true", Health.HEALTHY, None),
        (f"echo {COMMIT}; exit 1", Health.DEGRADED, None),
        ("exit 69", Health.INCONCLUSIVE, None),
        ("exit 127", Health.INCONCLUSIVE, None),
        ("kill -KILL $$", Health.INCONCLUSIVE, None),
    ],
)
async def test_a_command_tells_by_its_exit_code_and_its_last_line(
    tmp_path: Path, script: str, health: Health, revision: str | None
) -> None:
    seen = await look(("/bin/sh", "-c", script), tmp_path)
    assert (seen.health, seen.revision) == (health, revision)


async def test_a_command_that_fails_is_quoted(tmp_path: Path) -> None:
    seen = await look(("/bin/sh", "-c", "echo two replicas are down >&2; exit 2"), tmp_path)
    assert seen.sentence == "the probe command ended with exit code 2: two replicas are down"


async def test_a_command_that_hangs_is_degraded(tmp_path: Path) -> None:
    seen = await look(("sleep", "60"), tmp_path, timeout_s=0.5)
    assert seen == Probed(Health.DEGRADED, None, "the probe command did not answer within 0.5 s")


async def test_a_command_that_is_missing_is_the_probes_fault(tmp_path: Path) -> None:
    seen = await look(("no-such-probe",), tmp_path)
    assert seen.health is Health.INCONCLUSIVE
    assert "no-such-probe" in seen.sentence


async def test_a_command_sees_its_facts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_SECRET", "swordfish")
    seen = await look(("/bin/sh", "-c", "echo [$ORCH_WORK_ITEM$ORCH_SECRET]; exit 1"), tmp_path)
    assert seen.sentence.endswith("[WID-1]")
