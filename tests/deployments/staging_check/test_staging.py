"""Which stand is checked, and on which project an item is started."""

import json

import pytest

from deployments.staging_check.mode import Mode
from deployments.staging_check.staging import START_S, Staging, staging_of
from pipeline.errors import SettingsError
from pipeline.settings import Settings
from tests.support.services import Desk


def with_projects(settings: Settings, *keys: str, **changes: str) -> Staging:
    one = json.loads(settings.projects_json)[0]
    projects = [
        one | {"key": key, "repository": f"acme/{key.lower()}", "plane_project": f"00000000-0000-4000-8000-{n:012}"}
        for n, key in enumerate(keys)
    ]
    changed = settings.model_copy(update={"projects_json": json.dumps(projects), **changes})
    return staging_of(changed, Mode.STUB, mark="m4rk")


def test_production_is_never_checked(desk: Desk) -> None:
    production = desk.settings.model_copy(update={"stand": "production"})
    with pytest.raises(SettingsError, match=r"settings are of a production stand.*ORCH_STAND=staging"):
        staging_of(production, Mode.STUB, mark="")


def test_a_stand_is_production_unless_it_is_said_to_be_staging() -> None:
    assert Settings.model_fields["stand"].default == "production"


def test_the_only_project_is_the_one(desk: Desk) -> None:
    assert with_projects(desk.settings, "SHOP").project().key == "SHOP"


def test_of_several_projects_the_named_one_is_taken(desk: Desk) -> None:
    staging = with_projects(desk.settings, "SHOP", "PLAY", staging_check_project="PLAY")
    assert staging.project().key == "PLAY"


def test_with_several_projects_and_none_named_the_setting_is_asked_for(desk: Desk) -> None:
    with pytest.raises(SettingsError, match=r"has 2 projects \(PLAY, SHOP\).*ORCH_STAGING_CHECK_PROJECT"):
        with_projects(desk.settings, "SHOP", "PLAY").project()


def test_a_project_that_is_not_in_the_registry_is_named(desk: Desk) -> None:
    with pytest.raises(SettingsError, match=r"is PLAI, which is not in the registry \(PLAY, SHOP\)"):
        with_projects(desk.settings, "SHOP", "PLAY", staging_check_project="PLAI").project()


def test_a_live_start_may_take_as_long_as_an_agent(desk: Desk) -> None:
    stub, live = (staging_of(desk.settings, mode, mark="") for mode in Mode)
    assert (stub.start_within_s, live.start_within_s) == (START_S, START_S + desk.settings.agent_timeout_s)
