"""The agent's program is started as agents are; the machine is looked at as it is."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks import CodingAgent
from deployments.checkup import agent, machine
from deployments.checkup.agent import look_at_agent
from deployments.checkup.finding import Grade
from pipeline.settings import Settings
from pipeline.store import deliveries
from pipeline.store.engine import Store
from tests.support.services import migrated

DEFAULTS = Settings.model_construct(
    **{name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return DEFAULTS.model_copy(update={"state_dir": tmp_path / "orch"})


def stand_in(folder: Path, script: str) -> str:
    program = folder / "agent"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


async def test_only_the_program_is_run_and_sees_no_secret_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_PLANE_TOKEN", "plane-token")
    monkeypatch.setenv("MODEL_KEY", "let-through")
    program = stand_in(tmp_path, 'echo "agent 7 $# $1 $MODEL_KEY <$ORCH_PLANE_TOKEN>"')
    version, variable = await look_at_agent(CodingAgent(command=[program, "-p", "work"], pass_env=["MODEL_KEY"]))
    assert version.sentence == f"{program} answers: agent 7 1 --version let-through <>"
    assert (version.grade, variable.grade) == (Grade.OK, Grade.OK)


async def test_a_variable_that_is_to_be_let_through_and_is_not_set_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODEL_KEY", raising=False)
    _, variable = await look_at_agent(CodingAgent(command=[stand_in(tmp_path, "true")], pass_env=["MODEL_KEY"]))
    assert variable.grade is Grade.MISSING
    assert "Export MODEL_KEY" in variable.next_step


@pytest.mark.parametrize(
    ("script", "sentence"),
    [("echo no licence; exit 3", "exit code 3: no licence"), ("exec sleep 60", "took over 0.2 s")],
)
async def test_a_program_that_does_not_say_its_version_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    monkeypatch.setattr(agent, "PATIENCE_S", 0.2 if "sleep" in script else 20.0)
    [version] = await look_at_agent(CodingAgent(command=[stand_in(tmp_path, script)]))
    assert version.grade is Grade.MISSING
    assert sentence in version.sentence


async def test_a_program_that_is_not_there_is_missing(tmp_path: Path) -> None:
    [version] = await look_at_agent(CodingAgent(command=[str(tmp_path / "nothing")]))
    assert (version.grade, version.next_step) == (Grade.MISSING, "Install it, or correct ORCH_AGENT_COMMAND.")


def test_each_necessary_setting_that_is_not_set_is_missing_by_name(settings: Settings) -> None:
    found = machine.look_at_settings(settings)
    assert {one.grade for one in found} == {Grade.MISSING}
    assert "ORCH_PLANE_TOKEN is not set." in [one.sentence for one in found]


def test_a_registry_that_cannot_be_read_is_a_finding(settings: Settings, tmp_path: Path) -> None:
    found = machine.look_at_settings(settings.model_copy(update={"projects_file": tmp_path / "nothing.toml"}))
    assert "ORCH_PROJECTS_FILE cannot be read" in found[-1].sentence


def test_a_database_that_was_never_made_is_missing_and_a_migrated_one_is_fine(settings: Settings) -> None:
    assert machine.look_at_database(settings).grade is Grade.MISSING
    migrated(settings).dispose()
    assert machine.look_at_database(settings).grade is Grade.OK


def test_a_database_of_an_earlier_version_is_missing_what_orch_up_adds(settings: Settings) -> None:
    store: Store = migrated(settings)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '0001'")
    store.dispose()
    found = machine.look_at_database(settings)
    assert (found.grade, "earlier version" in found.sentence) == (Grade.MISSING, True)


def test_that_planes_webhook_works_is_known_from_what_it_told(settings: Settings) -> None:
    assert "no database" in machine.look_at_deliveries(settings).sentence
    store = migrated(settings)
    assert machine.look_at_deliveries(settings).sentence == "It has told of no item yet."
    at = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    for source, now in (("gitea", at + timedelta(hours=1)), ("plane", at)):
        fields = {"digest": source, "source": source, "event": "e", "body": "", "inbound": [], "now": now}
        store.write(deliveries.deliver, **fields)
    store.dispose()
    found = machine.look_at_deliveries(settings)
    assert (found.grade, found.sentence) == (Grade.OK, "It last told of an item at 2026-11-21 09:30 UTC.")


def test_this_machines_git_and_versions_are_good_enough() -> None:
    assert {machine.look_at_git().grade, machine.look_at_versions().grade} == {Grade.OK}


def test_without_git_the_next_step_is_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.look_at_git().next_step == "Install git 2.38 or later."


@pytest.mark.parametrize(("version", "grade"), [("2.37.9", Grade.MISSING), ("2.38.0", Grade.OK), ("3.0", Grade.OK)])
def test_an_old_git_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, grade: Grade) -> None:
    program = Path(stand_in(tmp_path, f"echo git version {version}"))
    program.rename(tmp_path / "git")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.look_at_git().grade is grade


@pytest.mark.parametrize(("gib", "grade"), [(0.5, Grade.MISSING), (3, Grade.LESS), (50, Grade.OK)])
def test_the_less_room_there_is_the_worse(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, gib: float, grade: Grade
) -> None:
    class Usage:
        free = gib * machine.GIB

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert machine.look_at_disk(settings.state_dir).grade is grade


async def test_a_prefect_server_that_was_never_started_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = await machine.look_at_prefect(settings)
    assert (found.grade, "start `orch up`" in found.sentence) == (Grade.MISSING, True)
