"""Block: the Plane workspace that Orch reads issues from."""

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr

from pipeline.clients.plane import Admit, PlaneClient


class PlaneWorkspace(Block):
    """A Plane workspace and the bot that Orch acts as there."""

    _block_type_name = "Plane Workspace"
    _block_type_slug = "plane-workspace"
    _description = "The Plane workspace whose issues Orch works on."
    _documentation_url = HttpUrl("https://developers.plane.so/api-reference/introduction")

    url: str = Field(description="Plane's address, such as https://plane.example.org.")
    workspace: str = Field(description="Slug of the workspace, as in its URLs.")
    token: SecretStr = Field(description="API token of Orch's bot user.")
    bot_tokens: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Tokens of bots that comments are written under: by role, and `stream` for transitions.",
    )

    def get_client(self, admit: Admit | None = None) -> PlaneClient:
        """A new client with its own connections; the caller closes it. `admit` is awaited before each request."""
        return PlaneClient(self.url, self.workspace, self.token, voices=self.bot_tokens, admit=admit)
