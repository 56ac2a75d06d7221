"""Reading cards."""

from prefect import task

from pipeline.model import TrackerItem
from tasks.services import services
from tasks.steps import STEP


@task(name="read the card", **STEP)
async def read_card(project: str, key: str) -> TrackerItem:
    """The card with this key as the tracker has it now."""
    root = await services()
    return await root.tracker.item_by_key(root.project(project), key)
