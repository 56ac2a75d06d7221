"""How a project's settings name the sandbox's stands: the fields of `pipeline.projects.Project` about deploys."""

import sys

from deployments.sandbox.build import NAME
from deployments.sandbox.options import Options

READER_TOKEN = Options().gitea_reader_token


def stand_settings(url: str, repository: str = "acme/shop", *, token: str = READER_TOKEN) -> dict[str, object]:
    """Artifact, hooks, probes and coverage for a project on the sandbox at `url`, as plain JSON values.

    `token` is a Gitea token that may read the repository. Windows and time-outs are left to the caller.
    """
    base = url.rstrip("/")

    def hook(name: str) -> list[str]:
        command = [sys.executable, "-P", "-m", "deployments.sandbox.hooks", name]
        return [*command, "--sandbox", base, "--repository", repository, "--token", token]

    return {
        "artifact": NAME,
        "staging_deploy": hook("stage"),
        "staging_probe": f"{base}/stands/staging/health",
        "staging_check": hook("check"),
        "deploy_hook": hook("deploy"),
        "health_probe": f"{base}/stands/production/health",
        "rollback_hook": hook("rollback"),
        "coverage_command": [sys.executable, "-P", "-m", "deployments.sandbox.measure"],
        "coverage_xml": "coverage.xml",
    }
