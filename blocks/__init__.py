"""Orch's Prefect blocks: how to reach each outside system. Each gives its client with `get_client()`.

Prefect's server loads this module through the entry point group `prefect.collections`, so that automations know
`TelegramNotification`.
"""

from pathlib import Path

from blocks.coding_agent import CodingAgent
from blocks.gitea_server import GiteaServer
from blocks.plane_workspace import PlaneWorkspace
from blocks.telegram_notification import TelegramNotification

__all__ = ["CodingAgent", "GiteaServer", "PlaneWorkspace", "TelegramNotification"]

LOGOS = Path(__file__).with_name("logos")
"""One SVG a block type, named by its slug. The receiver serves them: Prefect takes only http(s) addresses of logos."""
