import json
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.errors import SettingsError
from pipeline.projects import load_registry
from pipeline.settings import Settings
from pipeline.stages import Role, Status


def project(**more: object) -> dict[str, object]:
    return {"key": "WID", "plane_project": str(uuid4()), "repository": "acme/widgets", "test_command": ["true"], **more}


def test_everything_that_is_missing_is_named_at_once_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(_env_file=None).require()
    for name in (
        "ORCH_PROJECTS_FILE",
        "ORCH_PLANE_TOKEN",
        "ORCH_PLANE_WEBHOOK_SECRET",
        "ORCH_GITEA_TOKEN",
    ):
        assert name in str(caught.value)


def test_a_command_is_a_line_of_words_or_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_AGENT_COMMAND", "claude -p 'two words'")
    assert Settings(_env_file=None).agent_command == ("claude", "-p", "two words")
    monkeypatch.setenv("ORCH_AGENT_COMMAND", '["claude", "-p"]')
    assert Settings(_env_file=None).agent_command == ("claude", "-p")


def test_the_settings_come_from_an_env_file_too(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("ORCH_MAX_DEVELOPER_RETRIES=7\nORCH_CRASH_BACKOFF_S=1,2\n")
    settings = Settings(_env_file=file)
    assert (settings.retries_of(Role.DEVELOPER), settings.crash_backoff_s) == (7, (1.0, 2.0))


def test_a_secret_is_never_printed() -> None:
    assert "s3cret" not in repr(Settings(_env_file=None, gitea_token="s3cret"))


def test_bots_are_named_by_role_and_their_tokens_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_PLANE_BOT_TOKENS", '{"developer": "hush", "stream": "hush"}')
    settings = Settings(_env_file=None)
    assert set(settings.plane_bot_tokens) == {"developer", "stream"}
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("told", ['{"coder": "hush"}', '{"stream": ["hush"]}', '["hush"]', "hush"])
def test_bots_that_cannot_be_are_refused_without_their_tokens(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("ORCH_PLANE_BOT_TOKENS", told)
    with pytest.raises(ValueError, match="plane_bot_tokens") as raised:
        Settings(_env_file=None)
    assert "hush" not in str(raised.value)


def test_a_lease_must_outlive_two_renewals() -> None:
    with pytest.raises(ValueError, match="ORCH_LEASE_RENEW_S"):
        Settings(_env_file=None, lease_ttl_s=10, lease_renew_s=9)


def test_projects_are_found_by_key_tracker_id_repository_and_item() -> None:
    raw = project()
    registry = load_registry(json.dumps([raw]), None)
    found = registry["WID"]
    assert registry.of_tracker(str(raw["plane_project"]).upper()) == found
    assert registry.of_repository("ACME/Widgets") == found
    assert registry.of_work_item("WID-12") == found
    assert registry.of_work_item("OTHER-12") is None


def test_projects_come_from_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "projects.toml"
    file.write_text(
        f'[[projects]]\nkey = "WID"\nplane_project = "{uuid4()}"\nrepository = "acme/widgets"\ntest_command = ["make", "test"]\n'
        '[projects.states]\n"Zu analysieren" = "to_analyse"\n'
    )
    found = load_registry("", file)["WID"]
    assert found.status_of("zu  ANALYSIEREN") is Status.TO_ANALYSE
    assert found.status_of("Code-Review") is Status.CODE_REVIEW
    assert found.status_of("Someday") is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"key": "wid"}, "key"),
        ({"repository": "widgets"}, "repository"),
        ({"test_command": []}, "test_command"),
        ({"default_branch": "-main"}, "default_branch"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_of_a_project_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=f"project 1: {named}"):
        load_registry(json.dumps([project(**change)]), None)


def test_two_projects_cannot_share_a_repository() -> None:
    with pytest.raises(SettingsError, match="same repository"):
        load_registry(json.dumps([project(), project(key="OTHER")]), None)


@pytest.mark.parametrize("text", ["{", '{"a": 1}'])
def test_an_unreadable_registry_is_an_error_that_names_the_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="ORCH_PROJECTS_JSON"):
        load_registry(text, None)


@pytest.mark.parametrize("text", ["42, 4711", "42 4711", "[42,4711]", " 42,4711 "])
def test_telegram_ids_are_numbers_in_any_list(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_TELEGRAM_ALLOWED_USER_IDS", text)
    assert Settings().telegram_allowed_user_ids == (42, 4711)


def test_a_telegram_name_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_TELEGRAM_ALLOWED_USER_IDS", "@ada")
    with pytest.raises(ValueError, match="telegram_allowed_user_ids"):
        Settings()


def test_without_a_command_the_agent_is_claude_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(_env_file=None).agent == ("claude-code", ("claude",))
    monkeypatch.setenv("ORCH_AGENT_COMMAND", "aider --yes")
    assert Settings(_env_file=None).agent == ("command", ("aider", "--yes"))
    monkeypatch.setenv("ORCH_AGENT_KIND", "claude-code")
    assert Settings(_env_file=None).agent == ("claude-code", ("aider", "--yes"))


def test_the_settings_file_is_known_so_that_it_can_be_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(_env_file=None).settings_file is None
    (tmp_path / ".env").write_text("")
    assert Settings(_env_file=None).settings_file == tmp_path / ".env"
