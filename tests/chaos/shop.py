"""What chaos is about: two projects, things to be sold in them, and a script for the agent that makes each of them."""

import json
from pathlib import Path

from deployments.demo import PROJECT, REPOSITORY, sandbox_settings
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.stand_settings import stand_settings
from pipeline.settings import Settings

OTHER, OTHER_REPOSITORY = "OTHER", "acme/other"
REPOSITORIES = {PROJECT: REPOSITORY, OTHER: OTHER_REPOSITORY}
DESCRIPTION = "Customers want to buy this, too: a price of 3.50 euros a piece, and a test that says so."

ITEM = '''
[[items]]
title = "{name}"

[items.changes.sold.files]
"shop/{name}.py" = """
PRICE = 350


def {name}(count: int) -> int:
    return count * PRICE
"""
"tests/test_{name}.py" = """
import unittest

from shop.{name} import {name}


class SoldTest(unittest.TestCase):
    def test_two_cost_twice_as_much(self) -> None:
        self.assertEqual({name}(2), 700)
"""

[items.behaviours]
analyst = [{{ does = "ok", seconds = 2.0 }}]
developer = [{{ does = "ok", seconds = 4.0 }}]
reviewer = [{{ does = "ok", seconds = 2.0 }}]
'''


def thing(number: int) -> str:
    """The name of the n-th thing that is sold; no name is part of another one's."""
    return f"thing{number:03}"


def write_script(file: Path, things: int) -> None:
    """A scenario in which every thing is a file and a test of its own."""
    file.write_text("".join(ITEM.format(name=thing(number)) for number in range(things)))


def settings_for(sandbox: SandboxClient, folder: Path, port: int, *, agents: int, things: int) -> Settings:
    """Settings of a product on this sandbox: one project with stands, one without; every pause as short as may be."""
    sandbox.add_project(OTHER, OTHER_REPOSITORY)
    script = folder / "things.toml"
    write_script(script, things)
    ids = {project.key: project.id for project in sandbox.state().projects}
    common = {"test_command": list(Options().test_command), "test_timeout_s": 120}
    projects = [
        {"key": PROJECT, "plane_project": ids[PROJECT], "repository": REPOSITORY, **common}
        | stand_settings(sandbox.url, REPOSITORY)
        | {"monitor_window_s": 5, "monitor_interval_s": 2},
        {"key": OTHER, "plane_project": ids[OTHER], "repository": OTHER_REPOSITORY, **common},
    ]
    settings = sandbox_settings(
        sandbox, script, folder / "orch", port, projects_json=json.dumps(projects), max_concurrency=agents,
        crash_backoff_s=(2, 5, 10, 20), merge_defer_s=5, ci_look_again_s=20, outage_look_again_s=10,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/webhooks"
    sandbox.plane_webhook(f"{url}/plane", settings.plane_webhook_secret.get_secret_value())
    for repository in REPOSITORIES.values():
        sandbox.gitea_webhook(f"{url}/gitea", settings.gitea_webhook_secret.get_secret_value(), repository=repository)
    return settings
