"""Steps that may take longer than a run of Orch lasts: such a run would be killed at its work, and begun anew."""

from collections.abc import Iterator

from blocks import CodingAgent
from pipeline.projects import Registry
from pipeline.settings import Settings
from pipeline.stages import Role


def too_long(settings: Settings, projects: Registry, agent: CodingAgent) -> list[str]:
    """Each step that may outlast ORCH_RUN_MAX_S, as one sentence."""
    return [
        f"{what} may take {seconds:g} s, but a run is killed after {settings.run_max_s:g} s (ORCH_RUN_MAX_S)."
        for what, seconds in _steps(projects, agent)
        if seconds >= settings.run_max_s
    ]


def _steps(projects: Registry, agent: CodingAgent) -> Iterator[tuple[str, float]]:
    for role in Role:
        yield f"An attempt of the {role} (block Coding Agent)", agent.terms(role).timeout_s
    for project in projects.values():
        tests = 2 if project.repeat_red_tests else 1
        yield f"A test run of {project.key} (test_timeout_s)", project.test_timeout_s * tests
        yield f"A hook of {project.key} (hook_timeout_s)", project.hook_timeout_s
