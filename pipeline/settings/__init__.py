"""Orch's settings: environment variables with the prefix `ORCH_`, also read from a `.env` file.

Read at the composition root only; everything else is given values. `docs/configuration.md` is generated from here.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.budgets import Limits
from pipeline.errors import SettingsError
from pipeline.projects import Registry, load_registry
from pipeline.settings.agents import Agents
from pipeline.settings.connections import Connections
from pipeline.settings.delivery import Delivery
from pipeline.settings.upkeep import Upkeep
from pipeline.stages import Role, Stage


class Settings(Upkeep, Delivery, Agents, Connections, BaseSettings):
    """Every setting of Orch with its default and meaning."""

    model_config = SettingsConfigDict(
        env_prefix="ORCH_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @model_validator(mode="after")
    def _a_run_may_outlast_its_agent(self) -> Self:
        if self.run_max_s <= self.agent_timeout_s:
            raise ValueError("ORCH_RUN_MAX_S must be above ORCH_AGENT_TIMEOUT_S, or working agents are killed")
        return self

    @property
    def limits(self) -> Limits:
        """What agents may use up."""
        return Limits(
            run_usd=self.budget_run_usd,
            item_usd=self.budget_item_usd,
            item_tokens=self.budget_item_tokens,
            day_usd=self.budget_day_usd,
            day_tokens=self.budget_day_tokens,
        )

    @property
    def agent(self) -> tuple[Literal["claude-code", "command"], tuple[str, ...]]:
        """What kind of agent works here, and its command."""
        kind = self.agent_kind or ("command" if self.agent_command else "claude-code")
        return kind, self.agent_command or ("claude",)

    @property
    def store_url(self) -> str:
        """The database to use: the configured one or the file in the state folder."""
        return self.database_url or f"sqlite:///{self.state_dir / 'orch.db'}"

    @property
    def runs_folder(self) -> Path:
        """Where agents' logs go."""
        return self.runs_dir or self.state_dir / "runs"

    @property
    def bumps_cards(self) -> bool:
        """Whether the live message about an item moves below the others when it has news."""
        return self.tracker_mode.strip().casefold() == "bump"

    def webhook_url(self, source: str) -> str:
        """Where `source` (plane, gitea, telegram) sends its webhooks."""
        return f"{(self.public_url or f'http://{self.host}:{self.port}').rstrip('/')}/webhooks/{source}"

    @property
    def dependency_sources(self) -> tuple[str, ...]:
        """Where the dependencies that count come from; none while they are switched off."""
        if not self.task_deps_enabled:
            return ()
        return ("db",) if self.task_deps_source == "db" else ("db", "plane")

    def rebases_before_landing(self, repository: str) -> bool:
        """Whether a branch is put on top of the default branch and tested as that tree before it lands."""
        return self.merge_gate_enabled and _among(repository, self.merge_gate_repos)

    def looks_at_freshness(self, repository: str) -> bool:
        """Whether it is asked which revision staging runs."""
        return self.image_freshness_enabled and _among(repository, self.image_freshness_repos)

    def heeds_labels(self, repository: str) -> bool:
        """Whether labels may lift the human gates of this repository's items."""
        return self.auto_label_enabled and _among(repository, self.auto_label_repos)

    def grace_of(self, stage: Stage) -> timedelta:
        """How long an item may stand at `stage` without anybody working on it or waiting for anything."""
        return timedelta(seconds=getattr(self, f"reconcile_grace_{stage.value}"))

    def retries_of(self, role: Role) -> int:
        """How many red answers `role` may get."""
        return int(getattr(self, f"max_{role.value}_retries"))

    def registry(self) -> Registry:
        """The project registry. Raises `SettingsError`."""
        return load_registry(self.projects_json, self.projects_file)

    def require(self) -> None:
        """Raise one `SettingsError` naming every missing variable and where to get it."""
        missing = [f"  {name}: {where}" for name, where in self.absent()]
        if missing:
            raise SettingsError("These settings are missing (environment or .env):\n" + "\n".join(missing))

    def absent(self) -> list[tuple[str, str]]:
        """Necessary variables that are not set, each with where to get its value."""
        return [(name, where) for name, where, value in self._required() if not value]

    def _required(self) -> list[tuple[str, str, object]]:
        return [
            ("ORCH_PROJECTS_FILE", "a TOML file with [[projects]]; see docs/configuration.md (or ORCH_PROJECTS_JSON)",
             self.projects_json or self.projects_file),
            ("ORCH_PLANE_URL", "your Plane's address", self.plane_url),
            ("ORCH_PLANE_WORKSPACE", "the slug in Plane's address bar, after the host", self.plane_workspace),
            ("ORCH_PLANE_TOKEN", "Plane: Profile settings > Personal access tokens, as Orch's bot user",
             self.plane_token.get_secret_value()),
            ("ORCH_PLANE_WEBHOOK_SECRET", "Plane: Workspace settings > Webhooks, shown once when the webhook is made",
             self.plane_webhook_secret.get_secret_value()),
            ("ORCH_GITEA_URL", "your Gitea's address", self.gitea_url),
            ("ORCH_GITEA_TOKEN", "Gitea: Settings > Applications, as Orch's bot user: repository and issue write, user read",
             self.gitea_token.get_secret_value()),
            ("ORCH_GITEA_WEBHOOK_SECRET", "any long random text; the same goes into Gitea's webhook",
             self.gitea_webhook_secret.get_secret_value()),
        ]  # fmt: skip


def _among(repository: str, repositories: tuple[str, ...]) -> bool:
    """An empty list means every repository."""
    return not repositories or repository.casefold() in {name.casefold() for name in repositories}
