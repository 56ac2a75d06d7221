"""Where Orch keeps things, and how it and its neighbours reach each other."""

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, Field, SecretStr

from pipeline.settings.fields import Ids, Seconds, Tokens


class Connections(BaseModel):
    """The state folder, the project registry, Plane, Gitea, Telegram, and the receiver."""

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
    plane_bot_tokens: Tokens = Field(
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
    telegram_allowed_user_ids: Ids = Field(
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
