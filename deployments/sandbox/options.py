"""What a sandbox is started with: secrets, emulated versions and the patience of its webhooks (seconds)."""

import sys
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parent / "sample"
"""The repository that the sandbox is seeded with."""


GITEA_VERSION = "1.23.0"
"""The Gitea that the sandbox is like unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that can be chosen at start; the defaults are what the demo and the tests use."""

    workspace: str = "acme"
    plane_bot_token: str = "plane-bot-token"  # noqa: S105  a sandbox has no secrets worth keeping
    plane_stream_token: str = "plane-stream-token"  # noqa: S105
    """Of a second bot, under which comments can be written."""
    plane_person_token: str = "plane-person-token"  # noqa: S105
    plane_outsider_token: str = "plane-outsider-token"  # noqa: S105
    gitea_bot_token: str = "gitea-bot-token"  # noqa: S105
    gitea_person_token: str = "gitea-person-token"  # noqa: S105
    gitea_reader_token: str = "gitea-reader-token"  # noqa: S105
    telegram_bot_token: str = "telegram-bot-token"  # noqa: S105
    gitea_version: str = GITEA_VERSION
    """Gitea before 1.22 has no fast-forward-only merge, before 1.23 no `status` webhook."""
    fast_forward_only: bool = True
    """Whether repositories allow the fast-forward-only merge style, where the version knows it."""
    allow_manual_merge: bool = True
    """Whether repositories allow a pull request to be marked as merged by hand."""
    test_command: tuple[str, ...] = (sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", ".")
    test_timeout_s: float = 60.0
    ci_jobs: int = 1
    plane_retry_delays_s: tuple[float, ...] = (0.3, 1.0)
    """Plane 1.3 waits up to 600 s before each of five retries; a sandbox has less time."""
    plane_gives_up: bool = False
    """Whether a webhook is switched off once the retries of one delivery are used up, as Plane 1.3 does."""
    webhook_timeout_s: float = 5.0

    def gitea_at_least(self, major: int, minor: int) -> bool:
        """Whether the emulated Gitea is of this version or later."""
        found = self.gitea_version.split(".")
        return (int(found[0]), int(found[1])) >= (major, minor)
