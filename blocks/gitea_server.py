"""Block: the Gitea server that holds the repositories."""

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr

from pipeline.clients.gitea import GiteaClient


class GiteaServer(Block):
    """A Gitea server and the bot that Orch acts as there."""

    _block_type_name = "Gitea Server"
    _block_type_slug = "gitea-server"
    _description = "The Gitea server whose repositories Orch pushes to and lands on."
    _documentation_url = HttpUrl("https://docs.gitea.com/development/api-usage")

    url: str = Field(description="Gitea's address, such as https://git.example.org.")
    token: SecretStr = Field(description="Token of Orch's bot user: repository and issue write, user read.")

    def get_client(self) -> GiteaClient:
        """A new client with its own connections; the caller closes it."""
        return GiteaClient(self.url, self.token)
