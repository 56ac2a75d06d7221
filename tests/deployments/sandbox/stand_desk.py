"""Runs the sandbox's hooks as Orch does: as commands of a project, with nothing else in their environment."""

import os
import subprocess
from dataclasses import dataclass

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from pipeline.projects import Project

PLANE_PROJECT = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a hook ended, and the sentence that it ended with."""

    code: int
    said: str


class StandDesk:
    """A project whose stands are the sandbox's."""

    def __init__(self, sandbox: SandboxClient) -> None:
        fields = {"key": "SHOP", "plane_project": PLANE_PROJECT, "repository": "acme/shop", "test_command": ["true"]}
        self.project = Project.model_validate(fields | stand_settings(sandbox.url))

    def stage(self, revision: str, **more: str) -> Ended:
        return self._hook(self.project.staging_deploy, revision, more)

    def check(self, revision: str) -> Ended:
        return self._hook(self.project.staging_check, revision, {})

    def deploy(self, revision: str, **more: str) -> Ended:
        return self._hook(self.project.deploy_hook, revision, more)

    def rollback(self, revision: str) -> Ended:
        return self._hook(self.project.rollback_hook, revision, {})

    def _hook(self, command: tuple[str, ...], revision: str, more: dict[str, str]) -> Ended:
        told = {
            "PATH": os.environ["PATH"],
            "ORCH_EXPECTED_REVISION": revision,
            "ORCH_ARTIFACT": self.project.artifact_of(revision),
            "ORCH_WORK_ITEM": "SHOP-1",
        }
        ended = subprocess.run(command, env=told | more, capture_output=True, text=True, check=False)
        lines = (ended.stdout + ended.stderr).strip().splitlines()
        return Ended(ended.returncode, lines[-1] if lines else "")
