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
from pipeline.inbound.reading import NOT_JSON
from pipeline.inbound.signature import digest, sign
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


def moved_to(folder: Path, state: object) -> Path:
    """A card's move to this state, as Plane tells it."""
    body = json.loads((CAPTURES / f"{MOVED}.json").read_text())["body"]
    body["data"]["state"] = state
    return rewritten(folder, MOVED, body_b64=base64.b64encode(json.dumps(body).encode()).decode())


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
    assert (wrong["signature"], wrong["signals"]) == ("invalid", [])
    assert "signature is wrong" in wrong["ignored_because"]
    assert (wrong["event"], wrong["dedupe_key"]) == (told(name)["event"], told(name)["dedupe_key"])


def test_a_delivery_without_a_signature_would_be_refused(tmp_path: Path) -> None:
    headers = [["X-Plane-Event", "issue"], ["X-Plane-Signature", ""]]
    found = explain(rewritten(tmp_path, MOVED, headers=headers), "secret", REGISTRY)
    assert (found["signature"], found["event"], found["signals"]) == ("missing", "issue", [])
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


def test_a_state_that_asks_for_nothing_is_no_signal_and_says_so() -> None:
    found = told(MOVED, registry=Registry())
    assert (found["event"], found["signals"]) == ("issue", [])
    assert found["ignored_because"] == "State Architecture asks for nothing, by Orch's own list of names."


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
    found = explain(moved_to(tmp_path, state), "", REGISTRY)
    assert found["signals"] == []
    assert note in found["ignored_because"]


@pytest.mark.parametrize(
    ("state", "closes"),
    [
        ({"id": "s", "name": "Done", "group": "completed"}, True),
        ({"id": "s", "name": "Shipped", "group": "completed"}, True),
        ({"id": "s", "name": "Wont do", "group": "cancelled"}, True),
        ({"id": "s", "name": "Done"}, True),
        ({"id": "s", "name": "Done", "group": "started"}, False),
    ],
)
def test_a_card_put_where_work_ends_closes_the_item_that_orch_works_on(
    tmp_path: Path, state: dict[str, str], closes: bool
) -> None:
    found = explain(moved_to(tmp_path, state), "", REGISTRY)
    assert [signal["name"] for signal in found["signals"]] == ["card_closed"] * closes
    if closes:
        assert "counts for an item that Orch works on" in found["signals"][0]["note"]


@pytest.mark.parametrize("group", ["completed", "cancelled"])
def test_a_state_by_which_a_person_speaks_is_that_word_wherever_it_stands(tmp_path: Path, group: str) -> None:
    file = moved_to(tmp_path, {"id": "s", "name": "Rejected", "group": group})
    assert [signal["name"] for signal in explain(file, "", REGISTRY)["signals"]] == ["rejected"]


@pytest.mark.parametrize("name", ["plane/50-issue-created-other-project", "plane/51-project-deleted"])
def test_a_project_that_the_registry_does_not_have_is_ignored(name: str) -> None:
    assert told(name)["signals"] == []


def test_an_unknown_project_is_named_unless_there_is_no_registry() -> None:
    other = Registry((Project(key="OTH", plane_project=UUID(int=1), repository="a/b", test_command=("true",)),))
    for name, ref in ((MOVED, str(WIDGETS)), ("gitea/53-push-style-rebase-merged", "acme/widgets")):
        found = told(name, registry=other)
        assert (found["signals"], found["ignored_because"]) == ([], f"No project of the registry is {ref}.")
    assert told("gitea/53-push-style-rebase-merged", registry=Registry())["signals"]


@pytest.mark.parametrize(
    "name", ["52-pull_request-style-rebase-merged", "30-pull_request_review_approved-pr1-review-approved"]
)
def test_a_pull_request_into_another_branch_than_the_default_one_is_ignored(name: str) -> None:
    develops = Registry((REGISTRY["WID"].model_copy(update={"default_branch": "develop"}),))
    assert told(f"gitea/{name}")["signals"]
    found = told(f"gitea/{name}", registry=develops)
    assert found["signals"] == []
    assert found["ignored_because"] == "The pull request wants into main, not into develop, on which WID lands."


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", ""])
def test_another_content_type_than_json_would_be_refused(tmp_path: Path, content_type: str) -> None:
    headers = {"X-Plane-Event": "issue", "content-type": content_type}
    found = explain(rewritten(tmp_path, MOVED, headers=headers), "", REGISTRY)
    assert (found["event"], found["dedupe_key"]) == ("issue", told(MOVED)["dedupe_key"])
    assert (found["signals"], found["ignored_because"]) == ([], NOT_JSON)


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


@pytest.mark.parametrize(
    ("headers", "event"),
    [
        ({"X-Plane-Event": "issue"}, "issue"),
        ({"X-Gitea-Event": "push"}, "push"),
        (
            {"X-Gitea-Event": "pull_request_approved", "X-Gitea-Event-Type": "pull_request_review_approved"},
            "pull_request_review_approved",
        ),
        ({"X-Gitea-Delivery": "no event"}, None),
    ],
)
def test_of_a_body_that_cannot_be_understood_the_headers_tell_the_event(
    tmp_path: Path, headers: dict[str, str], event: str | None
) -> None:
    found = explain(rewritten(tmp_path, MOVED, headers=headers, body_b64="e30="), "", REGISTRY)
    assert (found["event"], found["signals"]) == (event, [])
    assert found["dedupe_key"] == digest(found["source"], event or "", b"{}")
    assert "cannot be read" in found["ignored_because"]


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
    assert bool(found["signals"]) != bool(found["ignored_because"])
    assert all(signal["name"] for signal in found["signals"])
    json.dumps(found)
