"""`orch deliveries explain`: whatever is in the file, it ends with a meaning, a reason, or one sentence."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from deployments import cli
from deployments.explain import explain
from pipeline.errors import Refused
from pipeline.inbound.signature import sign
from pipeline.inbound.sources import SOURCES
from pipeline.projects import Project, Registry
from pipeline.stages import Status

CAPTURES = Path(__file__).parents[1] / "captures"
ALL = sorted(str(path.relative_to(CAPTURES).with_suffix("")) for path in CAPTURES.rglob("*.json"))
DELIVERIES = [name for name in ALL if "body_b64" in json.loads((CAPTURES / f"{name}.json").read_text())]

GITEA_SECRET = json.loads((CAPTURES / "gitea/api-post-hook.json").read_text())["request"]["body"]["config"]["secret"]
WIDGETS = UUID("581ad294-072b-42fc-80a9-52449faee928")
MOVED = "plane/02-issue-updated-state"
"""A card moved to *Architecture*."""

REGISTRY = Registry(
    (
        Project(
            key="WID",
            plane_project=WIDGETS,
            repository="Acme/Widgets",
            test_command=("true",),
            states={"Architecture": Status.STOP},
        ),
    )
)


def told(name: str, secret: str = "", registry: Registry = REGISTRY) -> dict[str, Any]:
    return explain(CAPTURES / f"{name}.json", secret, registry)


def rewritten(folder: Path, name: str, **changes: object) -> Path:
    """The recording with some of its fields changed; those set to None are left out."""
    content = {**json.loads((CAPTURES / f"{name}.json").read_text()), **changes}
    file = folder / "recorded.json"
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return file


def orch(*words: str) -> Result:
    result = CliRunner().invoke(cli.app, ["deliveries", "explain", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("name", ALL)
def test_every_recording_ends_with_signals_or_a_reason(name: str) -> None:
    found = told(name)
    assert bool(found["signals"]) != bool(found["ignored_because"])
    assert found["signature"] == "unchecked"
    assert found["source"] == (name.partition("/")[0] if name in DELIVERIES else None)


@pytest.mark.parametrize("name", [name for name in DELIVERIES if name.startswith("gitea/")])
def test_a_recorded_signature_is_valid_with_the_secret_of_its_hook_and_with_no_other(name: str) -> None:
    assert told(name, GITEA_SECRET)["signature"] == "valid"
    wrong = told(name, "another")
    assert (wrong["signature"], wrong["signals"]) == ("invalid", told(name)["signals"])
    assert "signature is wrong" in wrong["ignored_because"]


def test_a_delivery_without_a_signature_would_be_refused(tmp_path: Path) -> None:
    headers = [["X-Plane-Event", "issue"], ["X-Plane-Signature", ""]]
    found = explain(rewritten(tmp_path, MOVED, headers=headers), "secret", REGISTRY)
    assert found["signature"] == "missing"
    assert "is not signed" in found["ignored_because"]


def test_headers_may_be_an_object_and_the_body_raw_text(tmp_path: Path) -> None:
    raw = json.loads((CAPTURES / f"{MOVED}.json").read_text())
    headers = {**dict(raw["headers"]), "X-Plane-Signature": sign(raw["body_raw"].encode(), "secret")}
    found = explain(rewritten(tmp_path, MOVED, headers=headers, body_b64=None), "secret", REGISTRY)
    assert (found["signature"], found["dedupe_key"]) == ("valid", told(MOVED)["dedupe_key"])


def test_a_card_s_move_means_what_its_projects_registry_says() -> None:
    [signal] = told(MOVED)["signals"]
    assert (signal["name"], signal["project_key"], signal["state"]["name"]) == (
        "stop_requested",
        "WID",
        "Architecture",
    )
    assert "reads the project's list of states" in signal["note"]


def test_a_state_that_asks_for_nothing_has_no_signals_name_and_says_so() -> None:
    [signal] = told(MOVED, registry=Registry())["signals"]
    assert (signal["name"], signal["project_key"]) == (None, None)
    assert signal["note"] == "State Architecture asks for nothing, by Orch's own list of names."
    assert signal["state"]["id"] == "34c53f0a-4eb5-460c-9642-8e2b0c7659ff"


@pytest.mark.parametrize(
    ("state", "note"),
    [
        ("34c53f0a-4eb5-460c-9642-8e2b0c7659ff", "Only the state's id was delivered"),
        ({"id": "s", "name": "In Progress"}, "only where the project has no state To Analyse"),
    ],
)
def test_a_move_whose_meaning_needs_the_projects_states_is_not_guessed(
    tmp_path: Path, state: object, note: str
) -> None:
    body = json.loads((CAPTURES / f"{MOVED}.json").read_text())["body"]
    body["data"]["state"] = state
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    [signal] = explain(rewritten(tmp_path, MOVED, body_b64=encoded), "", REGISTRY)["signals"]
    assert signal["name"] is None
    assert note in signal["note"]


def test_a_forges_delivery_names_project_branch_and_person() -> None:
    [signal] = told("gitea/53-push-style-rebase-merged")["signals"]
    assert (signal["name"], signal["project_key"], signal["item_ref"], signal["actor"]) == (
        "pushed",
        "WID",
        "main",
        "bot1",
    )


def test_headers_of_a_stranger_are_a_reason(tmp_path: Path) -> None:
    found = explain(rewritten(tmp_path, MOVED, headers={"Host": "x"}), "", REGISTRY)
    assert (found["source"], found["ignored_because"]) == (None, "No sender that Orch knows sends these headers.")


def test_a_body_that_cannot_be_understood_names_the_field(tmp_path: Path) -> None:
    found = explain(rewritten(tmp_path, MOVED, body_b64="e30="), "", REGISTRY)
    assert found["ignored_because"].startswith("Plane's delivery cannot be read: field event")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_two_sources_are_told_by_the_same_header(source: Any) -> None:
    others = {name.lower() for other in SOURCES if other is not source for name in other.told_by}
    assert others.isdisjoint(name.lower() for name in source.told_by)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "not an object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"headers": 7}', "wrong field headers"),
        (b'{"headers": {}, "body_b64": "%"}', "wrong field body_b64"),
    ],
)
def test_a_file_that_is_no_recording_is_one_sentence_and_exit_code_2(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "[file].json"
    file.write_bytes(content)
    result = orch(str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert sentence in result.stderr


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "nothing.json", tmp_path):
        result = orch(str(file), "--json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"orch: {file} cannot be read" in result.stderr


def test_json_is_one_object_and_the_page_says_the_same() -> None:
    file = str(CAPTURES / "gitea/53-push-style-rebase-merged.json")
    found = json.loads(orch(file, "--json").stdout)
    page = orch(file).stdout
    assert found["signals"][0]["name"] in page
    assert found["dedupe_key"] in page


def test_what_a_file_holds_is_printed_without_markup_and_without_crashing(tmp_path: Path) -> None:
    headers = {"X-Gitea-Event": "[red]\ud800[/]", "X-Gitea-Event-Type": "[red]\ud800[/]"}
    result = orch(str(rewritten(tmp_path, MOVED, headers=headers)))
    assert result.exit_code == 0
    assert "[red]?[/]" in result.stdout


JUNK = st.sampled_from((None, True, -1, 10**400, 1.5, float("nan"), "", "\ud800", "\x1b[31m", [], [[]], {}, {"id": 1}))


@given(name=st.sampled_from(DELIVERIES), data=st.data())
def test_a_mutated_recording_ends_with_a_meaning_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = json.loads((CAPTURES / f"{name}.json").read_text())
    body = content["body"]
    for part in (content, body, *(value for value in body.values() if isinstance(value, dict))):
        for key in data.draw(st.lists(st.sampled_from(sorted(part)), max_size=2)):
            part[key] = data.draw(JUNK)
    if data.draw(st.booleans()):
        content["body_b64"] = base64.b64encode(json.dumps(body).encode()).decode()
    file = tmp_path_factory.getbasetemp() / "mutated.json"
    file.write_text(json.dumps(content))
    assert_explained(file)


@given(name=st.sampled_from(ALL), cut=st.integers(0, 4000), inserted=st.binary(max_size=4))
def test_a_damaged_file_ends_with_a_meaning_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, cut: int, inserted: bytes
) -> None:
    whole = (CAPTURES / f"{name}.json").read_bytes()
    file = tmp_path_factory.getbasetemp() / "damaged.json"
    file.write_bytes(whole[:cut] + inserted + whole[cut + len(inserted) :])
    assert_explained(file)


def assert_explained(file: Path) -> None:
    try:
        found = explain(file, "secret", REGISTRY)
    except Refused as error:
        found = {"signals": [], "ignored_because": str(error).removeprefix(f"{file} ")}
        assert found["ignored_because"] != str(error), "the file is named first"  # noqa: PT017  either end is right
    assert found["signals"] or found["ignored_because"]
    json.dumps(found)
