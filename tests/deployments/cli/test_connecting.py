"""`orch init`, `orch connect` and `orch doctor` as a person meets them, against the sandbox as the real servers."""

import asyncio
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from blocks import GiteaServer
from deployments import cli
from deployments.demo import sandbox_settings
from deployments.demo_scenarios import FOLDER
from deployments.prefect_server import PrefectServer, wait_until_healthy
from deployments.sandbox.client import SandboxClient
from deployments.stack import as_environment
from pipeline.settings import Settings
from tasks.services import BLOCK
from tests.support.prefect_address import talking_to
from tests.support.services import migrated


def orch(*words: str, typed: str = "") -> Result:
    result = CliRunner().invoke(cli.app, words, input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def filled(sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a whole set-up in the environment; the agent is Python, which says its version."""
    settings = sandbox_settings(
        sandbox, FOLDER / "happy.toml", tmp_path / "orch", 8279, agent_command=(sys.executable,), public_url=""
    )
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


def told(result: Result) -> dict[str, Any]:
    found = json.loads(result.stdout)
    assert result.exit_code == found["missing"]
    assert isinstance(found, dict)
    return found


def test_init_writes_files_that_orch_can_read_with_a_secret_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert orch("init").exit_code == 0
    settings = Settings()
    assert list(settings.registry()) == ["WID"]
    assert len(settings.gitea_webhook_secret.get_secret_value()) == 48
    assert settings.agent == ("claude-code", ("claude",))
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    names = {line.strip("# ").split("=")[0] for line in (tmp_path / ".env").read_text().splitlines() if "=" in line}
    assert {name for name in names if name.startswith("ORCH_")} <= {f"ORCH_{n.upper()}" for n in Settings.model_fields}
    assert [name for name, _ in settings.absent()] == [
        *("ORCH_PLANE_URL", "ORCH_PLANE_WORKSPACE", "ORCH_PLANE_TOKEN", "ORCH_PLANE_WEBHOOK_SECRET"),
        *("ORCH_GITEA_URL", "ORCH_GITEA_TOKEN"),
    ]


def test_init_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ORCH_PORT=1\n")
    files = json.loads(orch("init", "--json").stdout)["files"]
    assert files == [".env is there and was left as it is.", "projects.toml was written."]
    assert (tmp_path / ".env").read_text() == "ORCH_PORT=1\n"
    assert tomllib.loads((tmp_path / "projects.toml").read_text())["projects"][0]["key"] == "WID"


def test_init_into_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    result = orch("init", str(tmp_path / "nowhere"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be written: No such file or directory" in result.stderr


def test_what_is_not_set_is_asked_for_and_a_secret_is_never_shown(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCH_PLANE_TOKEN")
    result = orch("connect", "plane", typed=f"{filled.plane_token.get_secret_value()}\n")
    assert result.exit_code == 0
    assert "19 of 19" in " ".join(result.stdout.split())
    assert "ORCH_PLANE_TOKEN=<as given>" in result.stdout
    assert f"Payload URL     http://127.0.0.1:{filled.port}/webhooks/plane" in result.stdout
    assert filled.plane_token.get_secret_value() not in result.output


def test_with_yes_nothing_is_asked_and_all_that_is_not_set_is_named() -> None:
    result = orch("connect", "plane", "--yes")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "ORCH_PLANE_URL, ORCH_PLANE_WORKSPACE, ORCH_PLANE_TOKEN" in result.stderr


def test_an_option_is_used_instead_of_the_setting(filled: Settings) -> None:
    found = told(orch("connect", "plane", "--token", "wrong-token", "--json"))
    assert found["missing"] == 1
    assert "wrong-token" not in json.dumps(found)


def test_gitea_is_connected_and_its_webhook_made(filled: Settings) -> None:
    assert told(orch("connect", "gitea", "--yes", "--json"))["missing"] == 1
    found = told(orch("connect", "gitea", "--create-webhook", "--yes", "--json"))
    assert (found["missing"], told(orch("connect", "gitea", "--json"))["missing"]) == (0, 0)


def test_telegram_and_the_agent_are_connected(filled: Settings) -> None:
    assert told(orch("connect", "telegram", "--set-webhook", "--yes", "--json"))["missing"] == 0
    sentences = [one["sentence"] for one in told(orch("connect", "agent", "--yes", "--json"))["findings"]]
    assert f"{sys.executable} answers: Python {sys.version.split()[0]}" in sentences


def test_before_the_first_start_the_block_is_left_to_it(filled: Settings) -> None:
    last = told(orch("connect", "agent", "--json"))["findings"][-1]
    assert (last["grade"], last["sentence"]) == ("ok", "The first `orch up` makes the block, from the settings.")


def test_a_block_is_not_changed_while_its_server_is_down(
    filled: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    last = told(orch("connect", "agent", "--json"))["findings"][-1]
    assert (last["grade"], last["next_step"]) == ("less", "Connect again while Orch is up.")


@pytest.mark.prefect
def test_what_works_is_kept_as_a_block_and_what_does_not_leaves_it(
    filled: Settings, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.url)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", prefect_server.auth)
    asyncio.run(wait_until_healthy(prefect_server.url, prefect_server.auth))
    good = told(orch("connect", "gitea", "--create-webhook", "--json"))["findings"][-1]
    assert (good["grade"], good["about"]) == ("ok", "Gitea Server")
    bad = told(orch("connect", "gitea", "--token", "wrong-token", "--json"))["findings"][-1]
    assert bad["sentence"] == "The block was left as it is."
    with talking_to(prefect_server.url, prefect_server.auth):
        kept = asyncio.run(GiteaServer.aload(BLOCK))
    assert kept.token.get_secret_value() == filled.gitea_token.get_secret_value()


def test_doctor_counts_what_is_missing_and_names_the_next_step(filled: Settings) -> None:
    migrated(filled).dispose()
    orch("connect", "gitea", "--create-webhook")
    orch("connect", "telegram", "--set-webhook")
    found = told(orch("doctor", "--json"))
    assert [one["about"] for one in found["findings"] if one["grade"] == "missing"] == ["Prefect"]
    assert all(one["next_step"] for one in found["findings"] if one["grade"] != "ok")
    assert {"Settings", "Versions", "Git", "Disk", "Database", "Sandbox", "Plane", "Gitea", "Telegram", "Agent"} <= {
        one["about"] for one in found["findings"]
    }


def test_doctor_in_an_empty_folder_names_each_setting_once() -> None:
    found = told(orch("doctor", "--json"))
    named = [one["sentence"] for one in found["findings"] if one["about"] == "Settings"]
    assert len(named) == len(set(named)) == 8
    page = orch("doctor")
    assert page.exit_code == found["missing"]
    assert f"{found['missing']} missing." in page.stdout
