from datetime import UTC, datetime, timedelta

from pipeline.model import ProcessIdentity, WorkItem
from pipeline.stages import Stage
from pipeline.store import items, leases
from pipeline.store.engine import Store
from pipeline.store.leases import Lease, Owner

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HERE = ProcessIdentity("here", "boot", 4711, 1.0)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def new_item(store: Store, key: str = "WID-1") -> WorkItem:
    new = items.NewItem(key, "WID", f"uuid-{key}", "Make it spin", f"feature/{key}-make-it-spin")
    item, _ = store.write(items.create, new, actor="ada", reason="asked for", run=None, now=NOW)
    return item


def claimed(
    store: Store, item: WorkItem, *, run: str = "run-1", now: datetime = NOW, alive: bool | None = True
) -> Lease | Owner:
    return store.write(
        leases.claim, item.id, flow_run_id=run, stage=item.stage, token=f"token-{run}", process=HERE, now=now, ttl=30,
        alive=lambda _: alive,
    )  # fmt: skip


def moved(store: Store, item: WorkItem, to: Stage, token: str | None = None, **more: object) -> WorkItem:
    return store.write(
        items.move,
        item,
        to,
        actor="orch",
        reason="because",
        run="run-1",
        token=token,
        now=later(5),
        **more,  # type: ignore[arg-type]
    )
