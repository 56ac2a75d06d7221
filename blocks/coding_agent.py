"""Block: the coding agent that works the stages, and what each role may use of it."""

from typing import Literal

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from pipeline.clients import claude_code
from pipeline.clients.agent import CommandAgent
from pipeline.stages import Role


class RoleTerms(BaseModel):
    """What one role has otherwise than the block says. What is left out stays as the block says."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="Model for this role.")
    effort: str | None = Field(default=None, description="Effort for this role.")
    timeout_s: float | None = Field(default=None, gt=0, description="Seconds an attempt of this role may take.")
    idle_timeout_s: float | None = Field(default=None, gt=0, description="Seconds this role may print nothing.")
    max_turns: int | None = Field(default=None, ge=0, description="Turns an attempt of this role may take.")
    max_budget_usd: float | None = Field(default=None, ge=0, description="Dollars an attempt of this role may cost.")


class Terms(BaseModel):
    """What holds for one role, with nothing left open. Empty `model` or `effort`: the agent's own default; 0: no limit."""

    model: str
    effort: str
    timeout_s: float
    idle_timeout_s: float
    max_turns: int
    max_budget_usd: float


class CodingAgent(Block):
    """A coding agent's command. It runs in the item's worktree with an environment made for it, nothing is inherited."""

    _block_type_name = "Coding Agent"
    _block_type_slug = "coding-agent"
    _description = "The command that works a stage, and its limits by role. The documentation is that of Claude Code."
    _documentation_url = HttpUrl("https://docs.claude.com/en/docs/claude-code/cli-reference")

    kind: Literal["claude-code", "command"] = Field(
        default="command",
        description="`claude-code`: Orch adds Claude Code's options to the command; `command`: it is run as it stands.",
    )
    command: list[str] = Field(
        min_length=1,
        description="Program and arguments as a list; no shell is involved. {model}, {effort}, {max_turns}, "
        "{max_budget_usd} and {prompt_file} are filled in; without {prompt_file} the prompt is on standard input.",
    )
    pass_env: list[str] = Field(
        default_factory=list,
        description="Names of variables let through to the agent (its model credential, nothing else).",
    )
    model: str = Field(default="", description="Model for agents that take one.")
    effort: str = Field(default="", description="Effort for agents that take one.")
    timeout_s: float = Field(default=3600, gt=0, description="Seconds an agent may work on one attempt.")
    idle_timeout_s: float = Field(default=900, gt=0, description="Seconds an agent may print nothing.")
    max_turns: int = Field(
        default=0, ge=0, description="Turns an attempt may take, for agents that count them; 0: any."
    )
    max_budget_usd: float = Field(default=0, ge=0, description="Dollars an attempt may cost at most; 0: any.")
    permission_mode: str = Field(default="acceptEdits", description="Claude Code's --permission-mode.")
    allowed_tools: list[str] = Field(
        default_factory=lambda: list(claude_code.TOOLS), description="Claude Code's --allowedTools."
    )
    disallowed_tools: list[str] = Field(default_factory=list, description="Claude Code's --disallowedTools.")
    append_system_prompt: str = Field(default="", description="Claude Code's --append-system-prompt.")
    roles: dict[Role, RoleTerms] = Field(default_factory=dict, description="What single roles have otherwise.")

    def get_client(self) -> CommandAgent:
        """The agent as Orch runs it."""
        if self.kind == "command":
            return CommandAgent(tuple(self.command))
        options = claude_code.Options(
            self.permission_mode, self.allowed_tools, self.disallowed_tools, self.append_system_prompt
        )
        return CommandAgent(claude_code.command_line(self.command, options), tells_result=True)

    def terms(self, role: Role) -> Terms:
        """Model, effort, time limits (seconds) and other limits of `role`."""
        own = self.roles.get(role, RoleTerms()).model_dump(exclude_none=True)
        general = {name: getattr(self, name) for name in Terms.model_fields}
        return Terms(**{**general, **own})
