"""Orch's settings: environment variables with the prefix `ORCH_`, also read from a `.env` file.

Read at the composition root only; everything else is given values. `docs/configuration.md` is generated from here.
"""

import json
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline.budgets import Limits
from pipeline.errors import SettingsError
from pipeline.projects import Registry, load_registry
from pipeline.stages import STREAM, Role, Stage

Seconds = Annotated[float, Field(ge=0)]


class Settings(BaseSettings):
    """Every setting of Orch with its default and meaning."""

    model_config = SettingsConfigDict(
        env_prefix="ORCH_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # --- where things live
    state_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_state_dir("orch")),
        description="Folder for everything Orch keeps: database, clones, worktrees, logs, generated secrets.",
    )
    runs_dir: Path | None = Field(
        default=None, description="Folder of agents' logs. Default: `runs` in the state folder."
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL of Orch's own database, `sqlite:///...` or `postgresql+psycopg://...`. "
        "Default: `orch.db` in the state folder.",
    )
    language: Literal["en", "ru"] = Field(default="en", description="Language of messages to people.")
    stand: Literal["production", "staging"] = Field(
        default="production",
        description="What this Orch is. `orch staging-check`, which starts and stops an item, refuses any but staging.",
    )

    # --- projects
    projects_json: str = Field(default="", description="The project registry as a JSON list; wins over the file.")
    projects_file: Path | None = Field(default=None, description="The project registry as TOML with `[[projects]]`.")
    staging_check_project: str = Field(
        default="",
        description="Key of the project on which `orch staging-check` starts an item. Default: the only one there is.",
    )

    # --- Plane
    plane_url: str = Field(default="", description="Plane's address, such as `https://plane.example.org`.")
    plane_web_url: str = Field(default="", description="Plane's address for links. Default: ORCH_PLANE_URL.")
    plane_workspace: str = Field(default="", description="Slug of the Plane workspace.")
    plane_token: SecretStr = Field(default=SecretStr(""), description="Plane API token of Orch's bot user.")
    plane_bot_tokens: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict,
        description="Tokens of bots that comments are written under, as JSON: a role (`analyst`, `developer` ...) or "
        "`stream` (transitions) -> token. Without one the shared bot speaks.",
    )
    plane_requests_per_minute: int = Field(
        default=60,
        ge=0,
        description="Requests to Plane that all of Orch makes at most in a minute with one token (Plane allows 60, "
        "service tokens 300); a quarter of them at once. 0 = Orch does not count.",
    )
    plane_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Secret that Plane shows when the webhook is made (`plane_wh_...`)."
    )
    plane_states_ttl_s: Seconds = Field(
        default=300, description="Seconds that a project's states are cached; 0 = for the process's life."
    )

    # --- Gitea
    gitea_url: str = Field(default="", description="Gitea's address, such as `https://git.example.org`.")
    gitea_public_url: str = Field(default="", description="Gitea's address for links. Default: ORCH_GITEA_URL.")
    gitea_token: SecretStr = Field(
        default=SecretStr(""), description="Gitea token of Orch's bot user: repository and issue write, user read."
    )
    gitea_webhook_secret: SecretStr = Field(default=SecretStr(""), description="Secret of Gitea's webhook to Orch.")

    # --- Telegram
    telegram_api_url: str = Field(default="https://api.telegram.org", description="Bot API server.")
    telegram_bot_token: SecretStr = Field(default=SecretStr(""), description="Bot token; empty = no Telegram messages.")
    telegram_chat_id: str = Field(default="", description="Chat that Orch writes to.")
    telegram_webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that Telegram sends with each pressed button: letters, digits, `_` and `-`, 256 at most. "
        "Empty = messages have no buttons.",
    )
    telegram_allowed_user_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(), description="Telegram user ids whose pressed buttons count. Empty = nobody's."
    )
    tracker_mode: str = Field(
        default="edit",
        description="The live message about each item: `edit` keeps it up to date where it is, `bump` sends it anew below "
        "the others. Anything else counts as `edit`.",
    )

    # --- receiver
    host: str = Field(default="127.0.0.1", description="Address that the webhook receiver listens on.")
    port: int = Field(default=8270, ge=0, le=65535, description="Port of the webhook receiver.")
    public_url: str = Field(
        default="",
        description="Address under which Plane, Gitea and Telegram reach the receiver, such as "
        "`https://orch.example.org`. Default: the receiver's own, which does for servers on this machine.",
    )
    prefect_port: int = Field(
        default=4270,
        ge=1,
        le=65535,
        description="Port of the Prefect server that Orch starts when PREFECT_API_URL is unset.",
    )
    operator_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer token of the receiver's operator endpoints; empty = they are switched off.",
    )
    inbox_retention_days: float = Field(
        default=30, ge=0, description="Days that applied deliveries and their signals are kept; 0 = for ever."
    )
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="Largest webhook body that is accepted.")

    # --- agents
    agent_kind: Literal["claude-code", "command"] | None = Field(
        default=None,
        description="What the coding agent is: Claude Code, whose options Orch knows, or any command. Default: `command` "
        "where ORCH_AGENT_COMMAND is set, else `claude-code`.",
    )
    agent_command: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="The coding agent's command, as a JSON list or a plain line of words; for `claude-code` the program "
        "and further options. Default: `claude`.",
    )
    agent_model: str = Field(default="", description="Model for agents that take one.")
    agent_effort: str = Field(default="", description="Effort for agents that take one.")
    agent_pass_env: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names of variables let through to the agent (its model credential, nothing else)."
    )
    agent_timeout_s: Seconds = Field(default=3600, description="Longest time an agent may work on one attempt.")
    agent_idle_timeout_s: Seconds = Field(default=900, description="Longest time an agent may print nothing.")
    agent_network: bool = Field(
        default=True,
        description="Agents have the network, which theirs has to reach its model by; off: they have none.",
    )
    sandbox: Literal["auto", "off", "required"] = Field(
        default="auto",
        description="Whether bubblewrap confines agents and the commands that run a branch's code. `auto`: where it is "
        "installed and allowed, else a warning says so; `required`: nothing of that runs without it.",
    )
    settings_file: Path | None = Field(
        default_factory=lambda: file if (file := Path(".env").absolute()).is_file() else None,
        description="The file with these settings, which confined commands must not see.",
    )
    sandbox_hide: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Further files and folders that confined commands must not see."
    )
    sandbox_show: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Files and folders that confined commands may read although they lie in a hidden one, such as tools "
        "below `/tmp` or `/run/docker.sock` (which gives everything away).",
    )
    max_concurrency: int = Field(default=2, ge=1, description="Agent stages that run at once (work pool orch-agents).")
    control_concurrency: int = Field(default=4, ge=1, description="Other runs at once (work pool orch-control).")

    # --- budgets and people
    budget_run_usd: float = Field(
        default=0,
        ge=0,
        description="Dollars that one run of an agent may cost; passed on to agents that take it. 0: any.",
    )
    budget_item_usd: float = Field(
        default=0,
        ge=0,
        description="Dollars after which a person has to let each further run of an item go on. 0: none.",
    )
    budget_item_tokens: int = Field(
        default=0, ge=0, description="The same in tokens, all that went in (cached ones included) and out. 0: none."
    )
    budget_day_usd: float = Field(
        default=0, ge=0, description="Dollars after which the same holds for all items until the next UTC day. 0: none."
    )
    budget_day_tokens: int = Field(default=0, ge=0, description="The same in tokens. 0: none.")
    people: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Who may answer and decide by a comment: ids, e-mail addresses or display names of Plane users (a "
        "display name is its user's to change). Empty: every member but bots.",
    )

    # --- retries
    max_analyst_retries: int = Field(
        default=3, ge=0, description="Red answers an analyst may get before a person is called."
    )
    max_architect_retries: int = Field(default=3, ge=0, description="The same for the architect.")
    max_developer_retries: int = Field(default=3, ge=0, description="The same for the developer.")
    max_reviewer_retries: int = Field(default=3, ge=0, description="The same for the reviewer.")
    max_tester_retries: int = Field(default=3, ge=0, description="The same for the tester.")
    max_deployer_retries: int = Field(default=3, ge=0, description="The same for staging and deploy.")
    crash_backoff_s: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(10, 60, 300),
        description="Pauses after the first, second ... crash of a stage's run; one more crash escalates the item.",
    )

    # --- gates, merge and deploy
    min_description_chars: int = Field(default=30, ge=0, description="Shortest description that is worth analysing.")
    merge_gate_enabled: bool = Field(
        default=True,
        description="Off: nothing is rebased or tested anew before it lands. What Orch's own test run found green at "
        "testing lands as it is, while the default branch has not moved on from under it; else the item is blocked.",
    )
    merge_gate_repos: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Repositories (`owner/name`) that the merge gate is limited to; empty: all."
    )
    premerge_rebase_always: bool = Field(
        default=True, description="Rebase before every validation; off = only when the default branch has moved."
    )
    merge_lock_timeout_s: Seconds = Field(
        default=5, description="How long a run tries to get the merge lock before it leaves."
    )
    merge_lock_lease_s: float = Field(
        default=60, ge=60, description="Lease of the merge lock; a dead holder frees it after that."
    )
    merge_defer_s: Seconds = Field(default=20, description="How soon a deferred merge looks again if nobody wakes it.")
    merge_defer_max: int = Field(default=200, ge=1, description="Deferrals in a row before the item is escalated.")
    max_revalidations: int = Field(
        default=20,
        ge=1,
        description="How often the default branch may move under a confirmed item before it is escalated.",
    )
    image_freshness_enabled: bool = Field(
        default=True, description="Off: nobody looks which revision staging runs; it is deployed every time."
    )
    image_freshness_repos: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Repositories (`owner/name`) that the freshness check is limited to; empty: all."
    )
    deploy_deadline_s: Seconds = Field(
        default=600,
        description="Seconds that a self-hosting project's new version has to become healthy; then its detached hook "
        "restores the old one.",
    )
    deploy_look_again_s: Seconds = Field(default=5, description="How soon a detached deploy is looked at again.")
    auto_label_enabled: bool = Field(default=True, description="Off: labels lift no human gate, and none is read.")
    auto_label_repos: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Repositories (`owner/name`) whose labels count; empty: all."
    )
    auto_approve_label: str = Field(default="autoApprove", description="Label that approves an item's analysis.")
    auto_deploy_label: str = Field(default="autoDeploy", description="Label that confirms an item's deploy.")
    auto_label_states_ttl_s: Seconds = Field(default=300, description="Seconds that a project's labels are cached.")
    confirm_survives_rebase: bool = Field(
        default=True, description="A confirmation stays good when the branch was rebased cleanly."
    )

    # --- waiting and waking
    lease_ttl_s: float = Field(default=30, gt=0, description="Life of a run's ownership of an item without renewal.")
    lease_renew_s: float = Field(default=10, gt=0, description="How often ownership is renewed.")
    person_deadline_s: Seconds = Field(
        default=86400, description="How long a person may take before one reminder is sent."
    )
    ci_deadline_s: Seconds = Field(default=3600, description="How long CI may take before a person is told.")
    ci_look_again_s: Seconds = Field(default=60, description="How soon CI is asked again when no webhook came.")
    outage_look_again_s: Seconds = Field(
        default=60, description="How soon a stage is tried again after a neighbour stayed away for all of its retries."
    )
    republish_s: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(30, 120, 600),
        description="Ages at which an unconsumed signal is announced again; at the last one the tick applies it itself.",
    )
    task_deps_enabled: bool = Field(
        default=True,
        description="Off: no dependency holds an item back, and no call is made about any; those on record are kept.",
    )
    task_deps_source: Literal["plane", "db"] = Field(
        default="plane",
        description="Where dependencies come from: `plane` = the cards' `blocked by` relations and `orch depend`; "
        "`db` = `orch depend` alone, without any call to Plane.",
    )
    stop_status_enabled: bool = Field(
        default=True, description="Off: moving a card to Stop means nothing; `orch stop` still stops an item."
    )
    transition_lease_enabled: bool = Field(
        default=True,
        description="Off: a living run of an item keeps no other from starting; the later one takes the item over and "
        "the earlier one's next write is refused. Stage writes stay compare-and-swap.",
    )
    reconcile_enabled: bool = Field(default=True, description="Off: the scheduled tick does nothing at all.")
    reconcile_plane_enabled: bool = Field(
        default=True,
        description="Off: the tick does not look through Plane for moves and answers that no webhook told.",
    )
    subscriptions_enabled: bool = Field(
        default=True,
        description="Off: the tick neither looks at Gitea's webhooks nor makes them anew, and says nothing of Plane's. "
        "Without ORCH_PUBLIC_URL and ORCH_GITEA_WEBHOOK_SECRET Gitea's are left alone anyway.",
    )
    reconcile_skip_blocked_enabled: bool = Field(
        default=True,
        description="Off: the tick starts what is due without asking in which state its card stands. Items that Orch "
        "itself holds are left alone all the same.",
    )
    reconcile_grace_analysis: Seconds = Field(
        default=20, description="Seconds that an item may stand at analysis without a run before the tick starts one."
    )
    reconcile_grace_architecture: Seconds = Field(default=20, description="The same at architecture.")
    reconcile_grace_development: Seconds = Field(default=20, description="The same at development.")
    reconcile_grace_review: Seconds = Field(default=20, description="The same at review.")
    reconcile_grace_testing: Seconds = Field(default=20, description="The same at testing.")
    reconcile_grace_deploy_staging: Seconds = Field(default=20, description="The same at staging.")
    reconcile_grace_deploy: Seconds = Field(default=20, description="The same at deploy.")
    run_max_s: Seconds = Field(
        default=14400,
        description="Longest that one run may own an item, above the longest step there is; then it is killed and the "
        "item taken from it.",
    )

    @field_validator(
        "agent_command", "agent_pass_env", "sandbox_hide", "sandbox_show", "people", "merge_gate_repos",
        "image_freshness_repos", "auto_label_repos", mode="before",
    )  # fmt: skip
    @classmethod
    def _words(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(json.loads(value)) if value.lstrip().startswith("[") else tuple(shlex.split(value))

    @field_validator("crash_backoff_s", "republish_s", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(float(part) for part in value.replace(",", " ").split())

    @field_validator("plane_bot_tokens", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        return json.loads(value or "{}") if isinstance(value, str) else value

    @field_validator("plane_bot_tokens")
    @classmethod
    def _voices(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if unknown := sorted(set(value) - {STREAM, *Role}):
            raise ValueError(f"no role is {', '.join(unknown)}; there are {', '.join([*Role, STREAM])}")
        return value

    @field_validator("telegram_allowed_user_ids", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        return tuple(value.strip("[]").replace(",", " ").split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _lease_outlives_renewal(self) -> Self:
        if self.lease_renew_s * 2 > self.lease_ttl_s:
            raise ValueError("ORCH_LEASE_RENEW_S must be at most half of ORCH_LEASE_TTL_S")
        return self

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
