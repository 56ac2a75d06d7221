"""Staging and production: each runs one artifact as a real process behind an address of the sandbox."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import get_args

import httpx

from deployments.sandbox.artifacts import Artifacts, StandError
from deployments.sandbox.build import NAME, archive_arguments
from deployments.sandbox.core import Core
from deployments.sandbox.git import BareRepository, git_bytes
from deployments.sandbox.gitea import Gitea
from deployments.sandbox.stand_faults import StandFault, StandFaults
from deployments.sandbox.stand_process import StandProcess
from deployments.sandbox.state import Artifact, Deploy, Hook, StandName
from deployments.sandbox.views import StandView
from pipeline.clients.http import certificates

STANDS: tuple[StandName, ...] = get_args(StandName)
SAMPLE_REPOSITORY = ("acme", "shop")
ASK_S = 10.0
"""Seconds that a service has for one answer."""

Json = dict[str, object]


class Stands:
    """The two stands. Production runs the first commit of the sample until something is deployed to it.

    No process is started before a stand is asked something, so that sandboxes whose stands are not used start quickly.
    """

    def __init__(self, core: Core, gitea: Gitea) -> None:
        self._core = core
        self._gitea = gitea
        self.world = core.world.stands
        self.artifacts = Artifacts(core)
        self.faults = StandFaults()
        self._processes: dict[StandName, StandProcess] = {}
        self._under_way: list[tuple[StandName, Hook]] = []
        self._locks = {stand: asyncio.Lock() for stand in STANDS}
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """End both services."""
        for process in self._processes.values():
            await process.end()
        if self._http is not None:
            await self._http.aclose()

    # --- what hooks ask for ---

    @contextlib.asynccontextmanager
    async def attempt(self, stand: StandName, hook: Hook) -> AsyncIterator[None]:
        """A hook's work on a stand, which may run into a fault: `StandError` 409 refused, 503 could not run."""
        fault = self.faults.take_hook(stand, hook)
        self._under_way.append((stand, hook))
        try:
            if fault and not fault.after:
                await self._spoil(fault, stand, hook)
            yield
            if fault and fault.after:
                await self._spoil(fault, stand, hook)
        finally:
            self._under_way.remove((stand, hook))

    async def _spoil(self, fault: StandFault, stand: StandName, hook: Hook) -> None:
        """Be slow, or fail as asked."""
        if fault.kind == "slow_hook":
            await self.faults.pause(stand, fault.seconds)
        elif fault.kind == "refuse":
            raise StandError(409, f"The {hook} hook is refused by {stand}, as was asked for.")
        else:
            raise StandError(503, f"The {hook} hook cannot run on {stand}, as was asked for.")

    async def find(self, revision: str, artifact: str | None) -> Artifact:
        """The artifact of this name (None: any) that was built from `revision`.

        Raises `StandError` 404 when it was not built, 409 when it was built from another revision.
        """
        await self._initial()
        found = self.artifacts.of_revision(revision) if artifact is None else self.artifacts.named(artifact)
        if found.revision != revision:
            raise StandError(409, f"Artifact {found.name} was built from {found.revision}, not from {revision}.")
        return found

    async def run(self, stand: StandName, artifact: Artifact) -> None:
        """Have a stand run an artifact; the old service ends once the new one listens. Idempotent.

        Raises `StandError` 409 when it does not come up; the old service then goes on.
        """
        async with self._locks[stand]:
            old = self._processes.get(stand)
            if old is None or old.pid is None or old.artifact.name != artifact.name:
                self._processes[stand] = await self._start(stand, artifact)
                if old is not None:
                    await old.end()
            self.world.running[stand] = artifact.name

    def note(self, deploy: Deploy) -> None:
        """Write a deploy into the log."""
        self.world.deploys.append(deploy)
        self._core.changed()

    async def _start(self, stand: StandName, artifact: Artifact) -> StandProcess:
        folder = self.artifacts.folder(artifact.name)
        return await StandProcess.start(artifact, folder, self._core.root / "stands" / f"{stand}-{folder.name}.log")

    # --- what probes ask for ---

    async def ask(self, stand: StandName, question: str) -> tuple[int, Json]:
        """Status and JSON that the running service answers to a path with its query, spoilt by what fault there is.

        Raises `StandError` 502 when no service answers.
        """
        fault = self.faults.take_probe(stand, await self._revision(stand))
        if fault and fault.kind == "slow":
            await self.faults.pause(stand, fault.seconds)
        if fault and fault.kind == "unhealthy":
            return 500, {"status": "unhealthy", "revision": await self._revision(stand)}
        status, fields = await self._ask_process(stand, question)
        if fault and fault.kind == "old_revision":
            fields["revision"] = await self._revision_before(stand)
        return status, fields

    async def _ask_process(self, stand: StandName, question: str) -> tuple[int, Json]:
        """The service's answer; one that was replaced in the meantime is not missed."""
        self._http = self._http or httpx.AsyncClient(
            trust_env=False, timeout=ASK_S, verify=certificates(trust_env=False)
        )
        process = await self._process(stand)
        if process.pid is None:
            raise StandError(502, f"The service of {process.artifact.name} has ended; deploy to {stand} again.")
        try:
            answer = await self._http.get(f"{process.url}{question}")
        except httpx.TransportError as error:
            if self._processes.get(stand) is not process:
                return await self._ask_process(stand, question)
            raise StandError(502, f"The service of {process.artifact.name} does not answer: {error!r}.") from error
        return answer.status_code, answer.json()

    async def _process(self, stand: StandName) -> StandProcess:
        """The service of a stand, started when this sandbox has not done so yet; one that died stays dead."""
        async with self._locks[stand]:
            if stand not in self._processes:
                await self._initial()
                if stand not in self.world.running:
                    raise StandError(502, f"Nothing was deployed to {stand} yet.")
                self._processes[stand] = await self._start(stand, self.artifacts.named(self.world.running[stand]))
            return self._processes[stand]

    # --- mending and looking ---

    def mend(self, stand: StandName) -> None:
        """End the faults of a stand; a service that died is started again by the next question."""
        self.faults.clear(stand)
        process = self._processes.get(stand)
        if process is not None and process.pid is None:
            del self._processes[stand]

    async def view(self, stand: StandName) -> StandView:
        """A stand as it is now."""
        process = self._processes.get(stand)
        return StandView(
            revision=await self._revision(stand),
            pid=process.pid if process else None,
            hooks_under_way=[hook for one, hook in self._under_way if one == stand],
            deploys=[one for one in self.world.deploys if one.stand == stand],
        )

    async def _initial(self) -> None:
        """Build what production runs before anything is deployed to it: the first commit of the sample."""
        first = await self._first_commit()
        name = NAME.format(revision=first)
        if not self.artifacts.is_built(name):
            await self.artifacts.put(name, await git_bytes(self._bare().path, *archive_arguments(first)))
        self.world.running.setdefault("production", name)

    async def _revision(self, stand: StandName) -> str | None:
        if stand in self.world.running:
            return self.artifacts.named(self.world.running[stand]).revision
        return await self._first_commit() if stand == "production" else None

    async def _revision_before(self, stand: StandName) -> str:
        """The revision that ran before the one that runs now; the first commit where there was none."""
        first, now = await self._first_commit(), await self._revision(stand)
        ran = [first, *(one.revision for one in self.world.deploys if one.stand == stand)]
        return next((one for one in reversed(ran) if one != now), first)

    async def _first_commit(self) -> str:
        return (await self._bare().default_tips())[0]

    def _bare(self) -> BareRepository:
        return self._gitea.bare(self._gitea.repository(*SAMPLE_REPOSITORY))
