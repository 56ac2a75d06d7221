"""`orch connect`: try a connection for real, say what is missing, and keep it in Prefect when it works."""

from dataclasses import dataclass, field

from prefect.blocks.core import Block

from deployments.checkup.agent import look_at_agent
from deployments.checkup.finding import Finding, Grade, fine, less, missing
from deployments.checkup.gitea import look_at_gitea
from deployments.checkup.plane import look_at_plane, look_at_webhook_secret, webhook_values
from deployments.checkup.telegram import look_at_telegram
from deployments.connections import agent_of, gitea_of, keep, plane_of, telegram_of
from deployments.peers import prefect_client
from pipeline.errors import OrchError, SettingsError
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Connection:
    """What was found, and what a person has to type elsewhere."""

    findings: list[Finding]
    to_do: list[str] = field(default_factory=list)


async def connect_plane(settings: Settings) -> Connection:
    """Plane: token, membership, states, labels. The block is kept when the token works, whatever else is missing."""
    block = plane_of(settings)
    async with block.get_client() as client:
        findings = await look_at_plane(client, settings.registry().values(), settings)
    kept = await _keep(settings, block, findings)
    findings += [*_without_projects(settings), look_at_webhook_secret(settings), *kept]
    return Connection(findings, webhook_values(settings))


async def connect_gitea(settings: Settings, *, create_webhook: bool) -> Connection:
    """Gitea: token, permissions, clones, landing, webhooks, which are made on request."""
    block = gitea_of(settings)
    async with block.get_client() as client:
        projects = settings.registry().values()
        findings = await look_at_gitea(client, projects, settings, create_webhook=create_webhook)
    return Connection([*findings, *_without_projects(settings), *await _keep(settings, block, findings)])


async def connect_telegram(settings: Settings, *, set_webhook: bool) -> Connection:
    """Telegram: bot, chat, and the webhook of its buttons, which is set on request."""
    block = telegram_of(settings)
    async with block.get_client() as client:
        findings = await look_at_telegram(client, settings, set_webhook=set_webhook)
    return Connection([*findings, *await _keep(settings, block, findings)])


async def connect_agent(settings: Settings) -> Connection:
    """The coding agent: its program starts, its variables are there."""
    block = agent_of(settings)
    findings = await look_at_agent(block)
    return Connection([*findings, *await _keep(settings, block, findings)])


async def _keep(settings: Settings, block: Block, findings: list[Finding]) -> list[Finding]:
    """Save the block where the first finding, which is about the connection itself, is good."""
    about = block.get_block_type_name()
    if findings[0].grade is not Grade.OK:
        return [less(about, "The block was left as it is.", "Mend the above and connect again.")]
    try:
        async with prefect_client(settings):
            kept = await keep(settings, block)
    except SettingsError:  # no Prefect server was ever started with this state folder
        return [fine(about, "The first `orch up` makes the block, from the settings.")]
    except OrchError as error:
        return [less(about, f"The block was not saved: {error}", "Connect again while Orch is up.")]
    return [fine(about, kept)]


def _without_projects(settings: Settings) -> list[Finding]:
    if settings.registry():
        return []
    step = "Set ORCH_PROJECTS_FILE; `orch init` writes an example."
    return [missing("Settings", "The project registry is empty, so no project was looked at.", step)]
