"""Seeing to it that Plane and Gitea go on telling: Gitea's webhooks are made anew, of Plane's people are told.

Plane has no API for webhooks, and switches one off for good when a delivery has used up its retries.
"""

from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.errors import Refused
from pipeline.model import Subscription
from pipeline.projects import Project
from pipeline.store import deliveries, reactions, sightings
from tasks.hearing import ON_THE_BOARD
from tasks.polling import each_project
from tasks.services import Services

LOOK_EVERY = timedelta(hours=1)
"""How often a repository's webhook, and Plane's silence, is looked at."""

SILENCE = timedelta(hours=3)
"""How long after a move that polling found some delivery of Plane's must have come; its retries take an hour at most."""

RECENT = timedelta(days=1)
"""Moves before that say nothing about Plane's webhook any more."""

SOUND = "sound"

PLANE = "plane"
"""Whose deliveries are listened for; a project's key is in capitals."""


async def see_to_webhooks(root: Services) -> list[str]:
    """Have webhooks tell again where they do not; a sentence for each that does not. Idempotent.

    Without ORCH_PUBLIC_URL nobody knows under which address Gitea reaches Orch, so none of its webhooks is touched.
    """
    settings = root.settings
    if not settings.subscriptions_enabled:
        return []
    did: list[str] = []
    if settings.plane_webhook_secret.get_secret_value():
        did += await root.store.awrite(_listen_for_plane, root)
    if settings.public_url and settings.gitea_webhook_secret.get_secret_value():
        did += await each_project(root, _see_to_gitea)
    return did


# --- Gitea


async def _see_to_gitea(root: Services, project: Project) -> list[str]:
    """One look, at most once in `LOOK_EVERY`; one that fails is not made up for before the next."""
    if not await root.store.awrite(_due, project.key, root.now()):
        return []
    url = root.settings.webhook_url("gitea")
    try:
        found = await root.forge.hook_state(project, url=url)
        if found is not None and await root.store.awrite(_as_good_as_it_gets, project, found):
            return []
        made = await root.forge.ensure_hook(project, url=url, secret=root.settings.gitea_webhook_secret)
    except Refused as error:
        return await root.store.awrite(_refused, root, project, url, str(error))
    return await root.store.awrite(_made, root, project, found, made)


def _due(session: Session, of: str, now: datetime) -> bool:
    place = sightings.webhooks(of)
    last = sightings.watermark(session, place)
    if last is not None and now - last < LOOK_EVERY:
        return False
    sightings.reached(session, place, now)
    return True


def _as_good_as_it_gets(session: Session, project: Project, found: Subscription) -> bool:
    """Whether the webhook is sound, or has only those faults that it had when it was new."""
    place, state = sightings.webhooks(project.key), _state(found)
    known = sightings.last(session, place, [found.url]).get(found.url)
    if not found.sound and (known is None or known.state != state):
        return False
    sightings.stands(session, place, found.url, state, changed_at=None)
    return True


def _made(
    session: Session, root: Services, project: Project, found: Subscription | None, made: Subscription
) -> list[str]:
    sightings.stands(session, sightings.webhooks(project.key), made.url, _state(made), changed_at=None)
    text, why = ("webhook_was_faulty", "; ".join(found.faults)) if found else ("webhook_was_missing", "there was none")
    html = root.texts(text, repository=project.repository, url=made.url, why=why)
    reactions.say(session, project.key, html, f"webhook:{project.key}:{made.id}", root.now())
    still = f"; still, {'; '.join(made.faults)}" if made.faults else ""
    return [f"{project.key}: its webhook in {project.repository} was made anew ({why}){still}"]


def _refused(session: Session, root: Services, project: Project, url: str, why: str) -> list[str]:
    if sightings.stands(session, sightings.webhooks(project.key), url, f"refused: {why}", changed_at=None):
        now = root.now()
        html = root.texts("webhook_refused", repository=project.repository, url=url, why=why)
        reactions.say(session, project.key, html, f"webhook:{project.key}:{now.isoformat()}", now)
    return [f"{project.key}: its webhook in {project.repository} cannot be seen to: {why}"]


def _state(subscription: Subscription) -> str:
    return "; ".join(subscription.faults) or SOUND


# --- Plane


def _listen_for_plane(session: Session, root: Services) -> list[str]:
    """Tell people, once a silence, when moves were found that no webhook told, and none has come for long."""
    now, last = root.now(), deliveries.last_delivery(session, PLANE)
    if not _due(session, PLANE, now) or (last is not None and now - last < SILENCE):
        return []
    since = max(last, now - RECENT) if last is not None else now - RECENT
    projects = deliveries.undelivered(session, ON_THE_BOARD, since=since, until=now - SILENCE)
    if not projects:
        return []
    html = root.texts(
        "plane_silent",
        since=f"{last or since:%Y-%m-%d %H:%M} UTC",
        projects=", ".join(projects),
        url=root.settings.webhook_url("plane"),
    )
    reactions.say(session, "Plane", html, f"plane_silent:{last.isoformat() if last else 'never'}", now)
    return [f"Plane's webhook seems to be switched off: it told nothing of moves in {', '.join(projects)}"]
