"""The `orch` command as a person meets it: what it prints, where, and that what goes wrong is a sentence."""

import json

import pytest
from typer.testing import CliRunner, Result

from deployments import cli
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from pipeline.store import items, waits
from tests.support.services import Desk


def orch(*words: str) -> Result:
    result = CliRunner().invoke(cli.app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_status_as_json_is_one_object(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    result = orch("status", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [(one["key"], one["stage"], one["why"]) for one in told["items"]] == [
        (item.key, "analysis", "waits for approval")
    ]


def test_status_shows_reasons_as_they_are_brackets_included(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    item = desk.item(Stage.TESTING)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "test_paths[/] and test_x[red] fail", desk.clock.now)
    result = orch("status")
    assert result.exit_code == 0
    assert "test_paths[/] and test_x[red] fail" in result.stdout


def test_status_without_items_is_an_empty_table(desk: Desk) -> None:
    assert orch("status").exit_code == 0
    assert json.loads(orch("status", "--json").stdout) == {"items": []}


def test_an_approval_says_what_followed_and_who_gave_it(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    result = orch("approve", item.key, "--comment", "fine")
    assert (result.exit_code, result.stdout) == (0, f"{item.key}: approve recorded for the approval of aaaaaaaaaaaa\n")
    assert [(d.actor, d.text) for d in desk.store.read(waits.decisions, item.id)] == [("cli:ada", "fine")]


@pytest.mark.parametrize(
    ("command", "kind", "stage", "choice"),
    [
        (("reject",), WaitKind.APPROVAL, Stage.ANALYSIS, "reject"),
        (("confirm",), WaitKind.CONFIRMATION, Stage.DEPLOY, "confirm"),
        (("answer", "in euros"), WaitKind.ANSWER, Stage.ANALYSIS, "answer"),
    ],
)
def test_each_decision_has_a_command(
    desk: Desk, command: tuple[str, ...], kind: WaitKind, stage: Stage, choice: str
) -> None:
    item = desk.item(stage)
    desk.asks(item, kind)
    assert orch(command[0], item.key, *command[1:]).exit_code == 0
    assert [str(d.choice) for d in desk.store.read(waits.decisions, item.id)] == [choice]


@pytest.mark.parametrize("words", [("approve",), ("reject",), ("confirm",), ("answer", "in euros")])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_decision_that_did_nothing_is_an_error_that_a_script_sees(
    desk: Desk, words: tuple[str, ...], as_json: tuple[str, ...]
) -> None:
    item = desk.item(Stage.TESTING)
    result = orch(words[0], item.key, *words[1:], *as_json)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"orch: {item.key}: nothing was decided. ")


def test_stop_and_retry_have_commands(desk: Desk) -> None:
    item = desk.item(Stage.TESTING)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "no disk", desk.clock.now)
    assert orch("retry", item.key).stdout == f"{item.key} goes on at testing.\n"
    assert orch("stop", item.key).stdout == f"{item.key}: the item is being stopped\n"


@pytest.mark.parametrize("command", ["approve", "reject", "confirm", "stop", "retry"])
def test_an_unknown_item_is_one_sentence_on_standard_error(desk: Desk, command: str) -> None:
    result = orch(command, "SHOP-999")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "orch: There is no live work item SHOP-999; `orch status` lists them.\n"


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("approve", "SHOP-1")])
def test_without_a_database_every_command_says_what_makes_one(words: tuple[str, ...]) -> None:
    result = orch(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("orch: There is no database of Orch at sqlite:")
    assert "`orch up` makes it" in result.stderr


def test_up_lists_every_setting_that_is_missing_with_its_brackets() -> None:
    result = orch("up")
    assert result.exit_code == 1
    assert "These settings are missing" in result.stderr
    assert "ORCH_PROJECTS_FILE: a TOML file with [[projects]]; see docs/configuration.md" in result.stderr
    for name in ("PLANE_URL", "PLANE_TOKEN", "PLANE_WEBHOOK_SECRET", "GITEA_URL", "GITEA_TOKEN"):
        assert f"  ORCH_{name}: " in result.stderr


def test_a_setting_that_cannot_be_read_is_named_and_its_value_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_PORT", "sesame")
    monkeypatch.setenv("ORCH_LANGUAGE", "de")
    for words in (("status",), ("up",), ("retry", "SHOP-1")):
        result = orch(*words)
        assert result.exit_code == 1
        assert "  ORCH_PORT: Input should be a valid integer" in result.stderr
        assert "  ORCH_LANGUAGE: Input should be" in result.stderr
        assert "sesame" not in result.stderr


def test_settings_that_contradict_each_other_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_LEASE_TTL_S", "5")
    assert "ORCH_LEASE_RENEW_S must be at most half of ORCH_LEASE_TTL_S" in orch("status").stderr


def test_an_unknown_demo_is_a_sentence_that_names_the_known_ones() -> None:
    result = orch("demo", "--scenario", "[nope]")
    assert result.exit_code == 1
    assert "There is no scenario [nope]; there are: happy" in result.stderr


def test_an_actor_without_a_name_is_told_by_number(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    assert orch("approve", item.key).exit_code == 0
    [decision] = desk.store.read(waits.decisions, item.id)
    assert decision.actor.removeprefix("cli:").isdigit()


# --- why, and what an operator does besides deciding


@pytest.fixture
def projects(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_PROJECTS_JSON", desk.settings.projects_json)


def test_why_tells_all_four_and_as_json_is_one_object(desk: Desk, projects: None) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    lines = orch("why", item.key).stdout.splitlines()
    assert lines[0] == f"{item.key} ({item.title}) at analysis"
    assert [line.split(":")[0].strip() for line in lines[1:5]] == ["waits for", "since", "moved by", "then"]
    assert json.loads(orch("why", item.key, "--json").stdout)["waits_for"] == "A person: waits for approval"


def test_depend_freeze_and_thaw_have_commands(desk: Desk, projects: None) -> None:
    item, other = desk.item(), desk.item()
    assert orch("depend", item.key, "--on", other.key).stdout == f"{item.key} waits for {other.key}.\n"
    assert orch("depend", item.key, "--remove", other.key).stdout == f"{item.key} waits for {other.key} no longer.\n"
    assert orch("freeze", "SHOP", "--why", "release day").stdout.startswith("SHOP is frozen")
    assert orch("thaw", "SHOP").stdout == "SHOP is thawed.\n"
    assert orch("freeze", "--why", "the forge moves").stdout.startswith("Everything is frozen")
    assert orch("thaw").stdout == "Everything is thawed.\n"


def test_a_lease_that_nobody_has_is_said_to_be_free(desk: Desk) -> None:
    item = desk.item()
    assert orch("release-lease", item.key).stdout == f"No run owns {item.key}.\n"


def test_what_an_operator_did_is_one_object_on_request(desk: Desk, projects: None) -> None:
    item, other = desk.item(), desk.item()
    frozen = "SHOP is frozen: nothing lands and no deploy begins until the thaw; work goes on."
    for words, told in (
        (
            ("depend", item.key, "--on", other.key),
            {"key": item.key, "followed": [f"{item.key} waits for {other.key}."]},
        ),
        (("freeze", "SHOP", "--why", "release day"), {"project": "SHOP", "followed": frozen}),
        (("thaw", "SHOP"), {"project": "SHOP", "followed": "SHOP is thawed."}),
        (("release-lease", item.key), {"key": item.key, "followed": f"No run owns {item.key}."}),
        (("replay", "--since", "2026-11-21T03:00:00"), {"followed": []}),
    ):
        assert json.loads(orch(*words, "--json").stdout) == told


def test_deliveries_are_a_table_or_one_object(desk: Desk) -> None:
    assert orch("deliveries").exit_code == 0
    assert json.loads(orch("deliveries", "--failed", "--json").stdout) == {"deliveries": []}
    assert orch("replay", "--since", "2026-11-21T03:00:00").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [(("depend", "SHOP-1"), "--on KEY"), (("replay",), "--since TIME"), (("replay", "7"), "no delivery 7")],
)
def test_what_is_missing_is_said(desk: Desk, words: tuple[str, ...], said: str) -> None:
    result = orch(*words)
    assert result.exit_code != 0
    assert said in result.stderr
