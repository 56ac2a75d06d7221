"""The composition root: settings, database, registry and the clients of outside systems, made once a process.

Settings are read here and nowhere else. The clients come from Prefect blocks, which `orch up` makes from the settings
on its first start; afterwards the blocks are the operator's.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from pipeline.clients.bubblewrap import Bubblewrap
from pipeline.clients.process import safe_environment
from pipeline.clients.process_identity import alive_here, went_with_its_host
from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import SettingsError
from pipeline.messages import Texts
from pipeline.model import ProcessIdentity
from pipeline.ports import Agent, Forge, Messenger, Tracker
from pipeline.projects import Project, Registry
from pipeline.settings import Settings
from pipeline.stages import Role
from pipeline.states import States
from pipeline.store.engine import Store
from tasks.budget import Budget

BLOCK = "orch"
"""The name of each of Orch's block documents."""

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Orch agent"), ("EMAIL", "orch-agent@localhost"))
}
"""Who agents commit as; their home is an empty folder of ours, without a git configuration."""


@dataclass(frozen=True)
class Services:
    """Everything that a run needs, and nothing that it can do without."""

    settings: Settings
    store: Store
    projects: Registry
    texts: Texts
    tracker: Tracker
    forge: Forge
    messenger: Messenger | None
    agent: Agent
    agent_block: CodingAgent
    states: States
    _workspaces: dict[str, GitWorkspace] = field(default_factory=dict)

    def project(self, key: str) -> Project:
        """A project of the registry. Raises `SettingsError` when it was taken out of it."""
        found = self.projects.get(key)
        if found is None:
            raise SettingsError(f"Project {key} is not in the registry any more; put it back or stop its items.")
        return found

    def workspace(self, project: Project) -> GitWorkspace:
        """The project's clone and worktrees."""
        if project.key not in self._workspaces:
            self._workspaces[project.key] = GitWorkspace(
                project,
                root=self.settings.state_dir,
                url=self.forge.clone_url(project),
                credentials=self.forge.git_credentials(),
                home=self.settings.state_dir / "git-home",
                sandbox=self.sandbox,
            )
        return self._workspaces[project.key]

    @property
    def home(self) -> Path:
        """The home folder that agents and project commands see instead of ours."""
        return self.settings.state_dir / "home"

    @property
    def sandbox(self) -> Bubblewrap:
        """How agents and project commands are confined, and what of this Orch none of them may see."""
        settings = self.settings
        url = make_url(settings.store_url)
        files = [f"{url.database}{suffix}" for suffix in ("", "-wal", "-shm")] if url.drivername == "sqlite" else []
        return Bubblewrap(
            settings.sandbox,
            hidden=(
                *(settings.state_dir, settings.runs_folder),
                *((settings.settings_file,) if settings.settings_file else ()),
                *(Path(name) for name in (*files, os.environ.get("PREFECT_HOME", ""), *settings.sandbox_hide) if name),
            ),
            shown=tuple(Path(name) for name in settings.sandbox_show),
        )

    @property
    def caps(self) -> Mapping[Role, int]:
        """How many red answers each role may get."""
        return {role: self.settings.retries_of(role) for role in Role}

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def alive(self, process: ProcessIdentity) -> bool | None:
        """Whether a recorded process lives; None when it ran on another host."""
        return alive_here(process)

    def went_with_its_host(self, process: ProcessIdentity) -> bool:
        """Whether a recorded process died because this host, on which it ran, has been started anew."""
        return went_with_its_host(process)

    def agent_home(self, item: str, role: Role) -> Path:
        """Made if need be. Each item and role has its own, so that no agent leaves settings for the one that judges it."""
        home = self.home / item / role
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def agent_environment(self, item: str, role: Role, facts: Mapping[str, str]) -> dict[str, str]:
        """All that an agent sees of the environment: the allow-list, the facts of its job, and what is let through."""
        home = self.agent_home(item, role)
        let_through = {name: os.environ[name] for name in self.agent_block.pass_env if name in os.environ}
        return safe_environment(home, {**IDENTITY, **let_through, **facts})


_made: list[Services] = []
_making = asyncio.Lock()


async def services() -> Services:
    """This process's services, made on the first call. Raises `SettingsError`."""
    async with _making:
        if not _made:
            _made.append(await assemble(Settings()))
    return _made[0]


async def assemble(settings: Settings) -> Services:
    """Services for these settings; the blocks are read from the Prefect server."""
    plane, gitea, agent = await asyncio.gather(
        PlaneWorkspace.aload(BLOCK), GiteaServer.aload(BLOCK), CodingAgent.aload(BLOCK)
    )
    tracker = plane.get_client(Budget().admit if settings.plane_requests_per_minute else None)
    messenger = None
    if settings.telegram_bot_token.get_secret_value():
        telegram: TelegramNotification = await TelegramNotification.aload(BLOCK)
        messenger = telegram.get_client()
    return Services(
        settings=settings,
        store=Store(settings.store_url),
        projects=settings.registry(),
        texts=Texts(settings.language),
        tracker=tracker,
        forge=gitea.get_client(),
        messenger=messenger,
        agent=agent.get_client(),
        agent_block=agent,
        states=States(tracker, ttl_s=settings.plane_states_ttl_s, clock=time.monotonic),
    )
