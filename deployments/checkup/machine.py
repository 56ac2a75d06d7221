"""Whether this machine has what Orch needs: settings, programs, disk, database, Prefect."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deployments.checkup.finding import Finding, fine, less, missing
from deployments.operator import open_store
from deployments.peers import prefect_address
from deployments.prefect_server import check_versions, wait_until_healthy
from pipeline.errors import OrchError, SettingsError
from pipeline.settings import Settings
from pipeline.store import deliveries, schema, set_aside

GIT_NEEDED = (2, 38)
"""`git merge-tree --write-tree` is from this version on."""

GIB = 1024**3
LEAST_GIB, COMFORTABLE_GIB = 1, 5
PATIENCE_S = 5


def look_at_settings(settings: Settings) -> list[Finding]:
    """Necessary settings that are missing, one finding each, and the project registry."""
    absent = [missing("Settings", f"{name} is not set.", f"Set it: {where}.") for name, where in settings.absent()]
    try:
        registry = settings.registry()
    except SettingsError as error:
        return [*absent, missing("Settings", str(error), "Correct the project registry; see docs/configuration.md.")]
    if not registry:
        return absent
    return [*absent, fine("Settings", f"Projects in the registry: {', '.join(registry)}.")]


def look_at_versions() -> Finding:
    """Whether what is installed here is known to work together."""
    return _tried("Versions", check_versions, "Prefect, FastAPI and SQLAlchemy are versions that work.", "")


def look_at_git() -> Finding:
    """Whether git is there and new enough."""
    step = f"Install git {'.'.join(map(str, GIT_NEEDED))} or later."
    program = shutil.which("git")
    if program is None:
        return missing("Git", "There is no git on PATH.", step)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    found = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    return fine("Git", f"{said}.") if found >= GIT_NEEDED else missing("Git", f"{said or program} is too old.", step)


def look_at_disk(folder: Path) -> Finding:
    """How much is free where Orch keeps its state."""
    there = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    free = shutil.disk_usage(there).free / GIB
    sentence = f"{free:.1f} GiB are free at {folder}."
    step = "Make room: clones, worktrees, logs and the databases are kept there."
    if free < LEAST_GIB:
        return missing("Disk", sentence, step)
    return less("Disk", sentence, step) if free < COMFORTABLE_GIB else fine("Disk", sentence)


def look_at_database(settings: Settings) -> Finding:
    """Whether the database is there and has this version's schema."""

    def look() -> None:
        store = open_store(settings)
        if not schema.current(store):
            raise SettingsError("The database has the schema of an earlier version.")

    about = "Database"
    found = _tried(
        about, look, "It answers and has this version's schema.", "Run `orch up`, which makes or updates it."
    )
    aside = open_store(settings).read(set_aside.all_of_them) if not found.next_step else []
    if not aside:
        return found
    what = "; ".join(one.sentence for one in aside)
    return less(about, f"A later version of Orch has written what this one sets aside: {what}.", "Start that version.")


def look_at_deliveries(settings: Settings) -> Finding:
    """When Plane's webhook last told of an item: Plane itself tells nobody whether there is a webhook."""
    try:
        last = open_store(settings).read(deliveries.last_delivery, "plane")
    except OrchError as error:
        return less("Plane webhook", f"Nobody knows whether it ever told anything: {error}", "Run `orch up`.")
    if last is None:
        step = "Move a card. If that starts nothing, look whether the webhook is there: `orch connect plane` tells how."
        return less("Plane webhook", "It has told of no item yet.", step)
    return fine("Plane webhook", f"It last told of an item at {last:%Y-%m-%d %H:%M} UTC.")


async def look_at_prefect(settings: Settings) -> Finding:
    """Whether the Prefect server that Orch uses answers, takes our secret, and is of the right version."""
    step = "Start `orch up`, or correct PREFECT_API_URL, PREFECT_API_AUTH_STRING or ORCH_PREFECT_PORT."
    try:
        where = prefect_address(settings)
        async with asyncio.timeout(PATIENCE_S):
            await wait_until_healthy(where.url, where.auth)
    except TimeoutError:
        return missing("Prefect", f"The server at {where.url} does not answer.", step)
    except OrchError as error:
        return missing("Prefect", str(error), step)
    return fine("Prefect", f"The server at {where.url} takes our secret and is of the right version.")


def _tried(about: str, look: Callable[[], None], good: str, step: str) -> Finding:
    try:
        look()
    except OrchError as error:
        return missing(about, str(error), step)
    return fine(about, good)
