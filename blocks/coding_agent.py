"""Block: the coding agent that works the stages, and what each role may use of it."""

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from pipeline.clients.agent import CommandAgent
from pipeline.stages import Role


class RoleTerms(BaseModel):
    """What one role has otherwise than the block says. What is left out stays as the block says."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="Model for this role.")
    effort: str | None = Field(default=None, description="Effort for this role.")
    timeout_s: float | None = Field(default=None, gt=0, description="Seconds an attempt of this role may take.")
    idle_timeout_s: float | None = Field(default=None, gt=0, description="Seconds this role may print nothing.")


class Terms(BaseModel):
    """What holds for one role, with nothing left open. Empty `model` or `effort`: the agent's own default."""

    model: str
    effort: str
    timeout_s: float
    idle_timeout_s: float


class CodingAgent(Block):
    """A coding agent's command. It runs in the item's worktree with an environment made for it, nothing is inherited."""

    _block_type_name = "Coding Agent"
    _block_type_slug = "coding-agent"
    _description = "The command that works a stage, and its limits by role. The documentation is that of Claude Code."
    _documentation_url = HttpUrl("https://docs.claude.com/en/docs/claude-code/cli-reference")

    command: list[str] = Field(min_length=1, description="The command as an argument list; no shell is involved.")
    pass_env: list[str] = Field(
        default_factory=list,
        description="Names of variables let through to the agent (its model credential, nothing else).",
    )
    model: str = Field(default="", description="Model for agents that take one.")
    effort: str = Field(default="", description="Effort for agents that take one.")
    timeout_s: float = Field(default=3600, gt=0, description="Seconds an agent may work on one attempt.")
    idle_timeout_s: float = Field(default=900, gt=0, description="Seconds an agent may print nothing.")
    roles: dict[Role, RoleTerms] = Field(default_factory=dict, description="What single roles have otherwise.")

    def get_client(self) -> CommandAgent:
        """The agent as Orch runs it."""
        return CommandAgent(command=tuple(self.command))

    def terms(self, role: Role) -> Terms:
        """Model, effort and time limits (seconds) of `role`."""
        own = self.roles.get(role, RoleTerms()).model_dump(exclude_none=True)
        general = {name: getattr(self, name) for name in Terms.model_fields}
        return Terms(**{**general, **own})
