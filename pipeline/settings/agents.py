"""How agents work, what they may cost, and how often they may fail."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from pipeline.settings.fields import Pauses, Seconds, Words


class Agents(BaseModel):
    """The coding agent, its sandbox, budgets, and the caps of retries."""

    # --- agents
    agent_kind: Literal["claude-code", "command"] | None = Field(
        default=None,
        description="What the coding agent is: Claude Code, whose options Orch knows, or any command. Default: `command` "
        "where ORCH_AGENT_COMMAND is set, else `claude-code`.",
    )
    agent_command: Words = Field(
        default=(),
        description="The coding agent's command, as a JSON list or a plain line of words; for `claude-code` the program "
        "and further options. Default: `claude`.",
    )
    agent_model: str = Field(default="", description="Model for agents that take one.")
    agent_effort: str = Field(default="", description="Effort for agents that take one.")
    agent_pass_env: Words = Field(
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
    sandbox_hide: Words = Field(
        default=(), description="Further files and folders that confined commands must not see."
    )
    sandbox_show: Words = Field(
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
    people: Words = Field(
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
    crash_backoff_s: Pauses = Field(
        default=(10, 60, 300),
        description="Pauses after the first, second ... crash of a stage's run; one more crash escalates the item.",
    )
