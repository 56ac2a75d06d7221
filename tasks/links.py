"""Addresses that people open. Where nobody but this machine could open one, there is none, unless they sit `near`, at it."""

from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from pipeline.model import WorkItem
from pipeline.settings import Settings

BRD = "01-brd.md"


def issue(settings: Settings, item: WorkItem, *, near: bool = False) -> str:
    """The item's issue in Plane; empty where Plane's address is not known or is this machine's own."""
    base = opened(settings.plane_web_url or settings.plane_url, near=near)
    return f"{base}/{quote(settings.plane_workspace)}/browse/{quote(item.key)}/" if base else ""


def brd(settings: Settings, repository: str, item: WorkItem) -> str:
    """What the analyst wrote, on the item's branch; empty where the forge's address is not known or not open to others."""
    folder = artifacts(settings, repository, item)
    return f"{folder}/{BRD}" if folder else ""


def artifacts(settings: Settings, repository: str, item: WorkItem) -> str:
    """The item's artifacts on its branch; empty as above."""
    base = _forge(settings, repository)
    return f"{base}/src/branch/{quote(item.branch)}/{quote(item.artifacts)}" if base else ""


def pull(settings: Settings, repository: str, item: WorkItem, *, near: bool = False) -> str:
    """The item's pull request; empty as above, and before there is one."""
    base = _forge(settings, repository, near=near)
    return f"{base}/pulls/{item.pull_number}" if base and item.pull_number else ""


def _forge(settings: Settings, repository: str, *, near: bool = False) -> str:
    base = opened(settings.gitea_public_url or settings.gitea_url, near=near)
    return f"{base}/{quote(repository)}" if base else ""


def opened(base: str, *, near: bool) -> str:
    """`base` without its last slash; empty for an address that is empty, unreadable, has credentials, or is of this
    machine only while whoever opens it is not `near`.
    """
    base = base.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return ""
    return "" if is_this_machine(host) and not near else base


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address means the machine that asks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
