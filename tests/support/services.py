"""Orch's services on a sandbox, without blocks and without a Prefect server, for tests of what uses them."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlmodel import Session, col, select

from blocks import CodingAgent
from deployments.demo import sandbox_settings
from deployments.demo_scenarios import FOLDER
from deployments.free_ports import free_ports
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.views import CardView
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.plane import PlaneClient
from pipeline.clients.telegram import TelegramClient
from pipeline.messages import Texts
from pipeline.model import Wait, WaitKind, WorkItem
from pipeline.projects import Project
from pipeline.settings import Settings
from pipeline.stages import WORKED, Stage
from pipeline.states import States
from pipeline.store import items, waits
from pipeline.store.engine import Store
from pipeline.store.leases import Lease
from pipeline.store.tables import DeliveryRow, OutboxRow, SignalRow, TransitionRow
from tasks.ownership import Claimed, claim
from tasks.services import Services
from tests.support.databases import migrated_file
from tests.support.prefect_address import talking_to


class Clock:
    """A clock that stands still until it is moved forward."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def catch_up(self) -> None:
        """Stand where the real clock does, by which Prefect's server writes down when a run came to its state."""
        self.now = datetime.now(UTC)

    def seconds(self) -> float:
        return self.now.timestamp()


@dataclass(frozen=True)
class ClockedServices(Services):
    """Services that live by a clock of the test's."""

    clock: Clock = field(default_factory=Clock)

    def now(self) -> datetime:
        return self.clock.now


class PrefectEvents:
    """Stands in for Prefect's `POST /api/events`: answers each with the next of `answers`, 204 when none is left."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.bad_paths: list[str] = []
        events = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = events.answers.pop(0) if events.answers else 204
                if self.path != "/api/events":
                    events.bad_paths.append(self.path)
                elif status == 204:
                    events.taken.extend(sent)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests read what came, not a log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.taken]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Desk:
    """What a test holds in its hands."""

    sandbox: SandboxClient
    root: ClockedServices
    prefect: PrefectEvents

    @property
    def store(self) -> Store:
        return self.root.store

    @property
    def settings(self) -> Settings:
        return self.root.settings

    @property
    def clock(self) -> Clock:
        return self.root.clock

    @property
    def project(self) -> Project:
        return self.root.project("SHOP")

    # --- what there is

    def card(self, title: str = "Print a receipt", *, state: str | None = None) -> CardView:
        """A person's new card."""
        return self.sandbox.card(self.sandbox.create_card(title, "Long enough to be worth analysing.", state=state))

    def item(self, stage: Stage = Stage.ANALYSIS, card: CardView | None = None, **columns: Any) -> WorkItem:
        """A work item of a card (a new one unless given) that has come to `stage`, with some columns set."""
        card = card or self.card()
        new = items.NewItem(card.key, "SHOP", card.id, card.title, f"feature/{card.key}-it")
        item, _ = self.store.write(items.create, new, actor="ada", reason="asked for", run=None, now=self.clock.now)
        for there in WORKED[1 : WORKED.index(stage) + 1]:
            item = self.move(item, there)
        return self.store.write(items.update, item, None, self.clock.now, **columns) if columns else item

    def move(self, item: WorkItem, to: Stage, **columns: Any) -> WorkItem:
        return self.store.write(
            items.move,  # type: ignore[arg-type]  # mypy: a ParamSpec with **changes
            item,
            to,
            actor="orch",
            reason="green",
            run=None,
            token=None,
            now=self.clock.now,
            **columns,
        )

    def asks(self, item: WorkItem, kind: WaitKind, *, commit: str = "a" * 40, run: str | None = None) -> Wait:
        """Have the item wait for `kind`; a person in a suspended run."""
        return self.store.write(
            waits.begin, item, kind, key=f"{kind}-{item.key}", sentence=f"waits for {kind}", now=self.clock.now,
            commit=commit, flow_run_id=run or (str(uuid4()) if kind.human else None),
        )  # fmt: skip

    def owned(self, item: WorkItem, run: str = "run-1") -> Lease:
        """Have a run of the item's stage own it."""
        claimed = claim(self.root, item.key, item.stage, run)
        assert isinstance(claimed, Claimed)
        return claimed.lease

    # --- what can be seen

    def again(self, item: WorkItem) -> WorkItem:
        """The item as it is now."""
        found = self.store.read(items.latest, item.key)
        assert found is not None
        return found

    def wait_of(self, item: WorkItem) -> Wait | None:
        return self.store.read(waits.open_wait, item.id)

    @property
    def deliveries(self) -> list[DeliveryRow]:
        return self.store.read(_rows, DeliveryRow)

    @property
    def signals(self) -> list[SignalRow]:
        return self.store.read(_rows, SignalRow)

    @property
    def letters(self) -> list[OutboxRow]:
        return self.store.read(_rows, OutboxRow)

    @property
    def transitions(self) -> list[TransitionRow]:
        return self.store.read(_rows, TransitionRow)

    def states(self) -> dict[str, str]:
        """Ids of the board's states by name."""
        return self.sandbox.state().project("SHOP").states


def _rows(session: Session, table: type[Any]) -> list[Any]:
    return list(session.exec(select(table).order_by(col(table.id))).all())


@asynccontextmanager
async def open_desk(sandbox: SandboxClient, folder: Path, /, **changes: Any) -> AsyncIterator[Desk]:
    """Services on a sandbox with a fresh SQLite file; faults of the sandbox are over when the body ends."""
    settings = sandbox_settings(sandbox, FOLDER / "happy.toml", folder / "orch", free_ports(1)[0], **changes)
    root, prefect = services_of(settings, migrated(settings)), PrefectEvents()
    try:
        with talking_to(prefect.url):
            yield Desk(sandbox, root, prefect)
    finally:
        sandbox.clear_faults()
        for client in (root.tracker, root.forge, root.messenger):
            assert isinstance(client, PlaneClient | GiteaClient | TelegramClient)
            await client.aclose()
        prefect.close()
        root.store.dispose()


def migrated(settings: Settings) -> Store:
    """A store on a SQLite file that needs no migration."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    (settings.state_dir / "orch.db").write_bytes(migrated_file())
    return Store(settings.store_url)


def services_of(settings: Settings, store: Store) -> ClockedServices:
    """What `tasks.services.assemble` makes, from the settings alone."""
    tracker = PlaneClient(
        settings.plane_url, settings.plane_workspace, settings.plane_token, voices=settings.plane_bot_tokens
    )
    agent = CodingAgent(command=list(settings.agent_command))
    clock = Clock()
    return ClockedServices(
        settings=settings,
        store=store,
        projects=settings.registry(),
        texts=Texts(settings.language),
        tracker=tracker,
        forge=GiteaClient(settings.gitea_url, settings.gitea_token),
        messenger=TelegramClient(settings.telegram_api_url, settings.telegram_bot_token, settings.telegram_chat_id),
        agent=agent.get_client(),
        agent_block=agent,
        states=States(tracker, ttl_s=settings.plane_states_ttl_s, clock=clock.seconds),
        clock=clock,
    )


async def until(seen: Callable[[], Any], *, within_s: float = 60, what: str = "") -> Any:
    """Look until `seen` gives something true, and give that; the test's loop goes on meanwhile."""
    async with asyncio.timeout(within_s):
        while not (found := await asyncio.to_thread(seen)):  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.02)
    return found
