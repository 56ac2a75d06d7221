"""What every task here shares: the retry policy and the look-up of its item. Tasks take ids and plain data."""

from typing import TypedDict

from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.tasks import RetryConditionCallable

from pipeline.errors import StaleWrite
from pipeline.model import WorkItem
from pipeline.projects import Project
from pipeline.store import items
from tasks.retry import CHECK_DELAYS, DELAYS, RETRIES, transient, transient_or_could_not_run
from tasks.services import Services, services


class Step(TypedDict):
    """Keyword arguments of `@task` for a step that touches an outside system."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: RetryConditionCallable
    cache_policy: CachePolicy


STEP: Step = {
    "retries": RETRIES,
    "retry_delay_seconds": DELAYS,
    "retry_condition_fn": transient,
    "cache_policy": NO_CACHE,  # what was done is remembered by Orch's database, never by Prefect's cache
}


CHECK: Step = {
    "retries": len(CHECK_DELAYS),
    "retry_delay_seconds": CHECK_DELAYS,
    "retry_condition_fn": transient_or_could_not_run,
    "cache_policy": NO_CACHE,
}
"""For a step that runs a project's own check: what could not run is tried again before a person is called."""


async def subject(key: str) -> tuple[Services, WorkItem, Project]:
    """The services, the item and its project. Raises `StaleWrite` when the item is gone or cancelled."""
    root, item = await alone(key)
    return root, item, root.project(item.project)


async def alone(key: str) -> tuple[Services, WorkItem]:
    """The same without the project, for what must work when that was taken out of the registry."""
    root = await services()
    item = await root.store.aread(items.find, key)
    if item is None:
        raise StaleWrite(f"There is no live work item {key} any more.")
    return root, item
