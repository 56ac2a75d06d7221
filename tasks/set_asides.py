"""Telling people what only a later version of Orch understands: it is left as it is, and nothing else waits for it."""

import logging

from sqlmodel import Session

from pipeline.store import reactions, set_aside
from pipeline.store.set_aside import Aside
from tasks.services import Services

log = logging.getLogger("orch.set_asides")


async def tell_what_is_set_aside(root: Services) -> list[str]:
    """A message and a line in the log for each value that this version does not know, once; what was told."""
    found = await root.store.aread(set_aside.all_of_them)
    return await root.store.awrite(_tell, root, found) if found else []


def _tell(session: Session, root: Services, found: list[Aside]) -> list[str]:
    told = []
    for aside in found:
        html = root.texts("set_aside", what=aside.sentence)
        once = f"set-aside:{aside.what}:{aside.value}:{aside.items[0]}"
        if reactions.say(session, aside.items[0], html, once, root.now()):
            log.warning("set aside, for a later version of Orch has written it: %s", aside.sentence)
            told.append(f"set aside: {aside.sentence}")
    return told
