"""One run of a stage, as the steps of its flow hand it on."""

from dataclasses import dataclass, replace

from pipeline.errors import StaleWrite
from pipeline.model import MergeAttempt, WorkItem
from pipeline.projects import Project
from pipeline.stages import ROWS, Row
from pipeline.store import items
from pipeline.store.leases import Lease
from tasks.services import Services


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a stage: the item as it was last read, and the proof that it is ours."""

    root: Services
    item: WorkItem
    project: Project
    lease: Lease
    run_id: str
    merge: MergeAttempt | None = None

    @property
    def row(self) -> Row:
        """The item's line of the state machine."""
        return ROWS[self.item.stage]

    async def again(self) -> "Run":
        """The same run with the item read anew. Raises `StaleWrite` when it has moved on or was held."""
        found = await self.root.store.aread(items.find, self.item.key)
        if found is None or (found.stage, found.version) != (self.item.stage, self.item.version):
            raise StaleWrite(f"{self.item.key} was moved while this run worked on it.")
        return replace(self, item=found)
