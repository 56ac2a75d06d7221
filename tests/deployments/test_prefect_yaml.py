"""The real prefect.yaml and the real flows."""

from pathlib import Path

import pytest
import yaml

from deployments.definitions import Definition, read_code, read_definitions
from deployments.pools import AGENTS, CONTROL
from pipeline.errors import SettingsError
from pipeline.stages import ROWS, WORKED

ROOT = Path(__file__).parents[2]
DEFINITIONS = {definition.name: definition for definition in read_definitions()}
CONTROLS = {"intake", "wake", "stop", "reconcile"}

by_name = pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=lambda definition: definition.name)


def test_the_installed_file_is_the_one_at_the_root():
    assert tuple(DEFINITIONS.values()) == read_definitions((ROOT / "prefect.yaml").read_text())


def test_every_stage_and_every_control_flow_is_deployed_and_nothing_else():
    assert DEFINITIONS.keys() == {*map(str, WORKED), *CONTROLS}


@by_name
def test_a_deployment_runs_the_flow_of_its_own_name(definition: Definition):
    assert definition.entrypoint == f"flows.{definition.name}.{definition.name}"
    assert read_code(definition).version is not None


@by_name
def test_every_flow_takes_a_work_item_and_reconcile_takes_nothing(definition: Definition):
    parameters = read_code(definition).parameters
    required = [] if definition.name == "reconcile" else ["work_item"]
    assert list(parameters.get("required", [])) == required
    assert list(parameters["properties"]) == required


@by_name
def test_only_stages_that_an_agent_works_wait_in_the_agents_pool(definition: Definition):
    worked = definition.name in WORKED and ROWS[definition.name].works
    assert definition.work_pool.name == (AGENTS if worked else CONTROL)


@by_name
def test_tags_tell_stages_from_the_rest(definition: Definition):
    assert definition.tags == (("orch-stage",) if definition.name in WORKED else ("orch-control",))


def test_only_the_reconciler_has_a_schedule_and_a_limit_of_its_own():
    assert [name for name, one in DEFINITIONS.items() if one.schedules or one.concurrency_limit] == ["reconcile"]
    reconcile = DEFINITIONS["reconcile"]
    assert [every.interval for every in reconcile.schedules] == [30]
    assert reconcile.concurrency_limit is not None
    assert (reconcile.concurrency_limit.limit, reconcile.concurrency_limit.collision_strategy) == (1, "CANCEL_NEW")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pull": None}, "pull"),
        ({"deployments": [{"name": "x", "triggers": []}]}, "deployments.0.triggers"),
        ({"deploymnets": []}, "deploymnets"),
    ],
)
def test_what_prefect_would_silently_ignore_is_refused_by_name(change: dict[str, object], named: str):
    text = yaml.safe_dump({"name": "orch", "pull": [], "deployments": []} | change)
    with pytest.raises(SettingsError, match=named):
        read_definitions(text)


def test_an_entrypoint_that_leads_nowhere_is_refused_by_name():
    lost = DEFINITIONS["review"].model_copy(update={"entrypoint": "flows.nowhere.review"})
    with pytest.raises(SettingsError, match=r"flows\.nowhere\.review"):
        read_code(lost)


def test_an_entrypoint_to_the_flow_of_another_name_is_refused():
    swapped = DEFINITIONS["review"].model_copy(update={"entrypoint": "flows.testing.testing"})
    with pytest.raises(SettingsError, match="deployment review runs a flow that is named testing"):
        read_code(swapped)
