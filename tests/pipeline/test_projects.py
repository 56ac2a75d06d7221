"""What a project's settings must be to make sense together."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from pipeline.projects import Project, normal_label


def project(**more: object) -> Project:
    base = {"key": "WID", "plane_project": UUID(int=7), "repository": "acme/widget", "test_command": ("true",)}
    return Project.model_validate({**base, **more})


PROBE = "http://stand/health"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"staging_deploy": ("x",)}, "staging_deploy needs staging_probe"),
        ({"deploy_hook": ("x",)}, "deploy_hook needs health_probe"),
        ({"rollback_hook": ("x",)}, "rollback_hook needs deploy_hook"),
        ({"monitor_window_s": 5}, "monitor_window_s needs health_probe"),
        ({"revert_when_degraded": True}, "revert_when_degraded needs monitor_window_s"),
        ({"self_hosting": True}, "self_hosting needs deploy_hook"),
        ({"health_probe": "curl stand"}, "neither an http"),
        ({"hook_pass_env": ("ORCH_GITEA_TOKEN",)}, "may not let ORCH_GITEA_TOKEN through"),
    ],
)
def test_settings_that_make_no_sense_are_named_with_the_reason(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        project(**settings)


def test_a_probe_is_an_address_or_a_command() -> None:
    assert project(health_probe=PROBE).health_probe == PROBE
    assert project(health_probe=["revision-of", "shop"]).health_probe == ("revision-of", "shop")


def test_the_artifact_carries_the_revision() -> None:
    assert project(artifact="registry/shop:{revision}").artifact_of("abc") == "registry/shop:abc"


@pytest.mark.parametrize("name", ["autoApprove", "auto-approve", "Auto Approve", "AUTO_APPROVE"])
def test_labels_are_compared_without_case_and_punctuation(name: str) -> None:
    assert normal_label(name) == "autoapprove"
