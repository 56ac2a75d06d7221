"""Addresses that people open from a message. Where nobody but this machine could open one, there is none."""

from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from pipeline.model import WorkItem
from pipeline.settings import Settings

BRD = "01-brd.md"


def issue(settings: Settings, item: WorkItem) -> str:
    """The item's issue in Plane; empty where Plane's address is not known or is this machine's own."""
    base = open_to_others(settings.plane_web_url or settings.plane_url)
    return f"{base}/{quote(settings.plane_workspace)}/browse/{quote(item.key)}/" if base else ""


def brd(settings: Settings, repository: str, item: WorkItem) -> str:
    """What the analyst wrote, on the item's branch; empty where the forge's address is not known or not open to others."""
    folder = artifacts(settings, repository, item)
    return f"{folder}/{BRD}" if folder else ""


def artifacts(settings: Settings, repository: str, item: WorkItem) -> str:
    """The item's artifacts on its branch; empty as above."""
    base = _forge(settings, repository)
    return f"{base}/src/branch/{quote(item.branch)}/{quote(item.artifacts)}" if base else ""


def pull(settings: Settings, repository: str, item: WorkItem) -> str:
    """The item's pull request; empty as above, and before there is one."""
    base = _forge(settings, repository)
    return f"{base}/pulls/{item.pull_number}" if base and item.pull_number else ""


def _forge(settings: Settings, repository: str) -> str:
    base = open_to_others(settings.gitea_public_url or settings.gitea_url)
    return f"{base}/{quote(repository)}" if base else ""


def open_to_others(base: str) -> str:
    """`base` without its last slash; empty for an address that is empty, unreadable, or only this machine's."""
    base = base.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or host == "localhost" or host.endswith(".localhost"):
        return ""
    try:
        address = ip_address(host)
    except ValueError:
        return base
    return "" if address.is_loopback or address.is_unspecified else base
