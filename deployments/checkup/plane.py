"""Whether Plane is reached, lets Orch in, and has the states that Orch speaks through."""

from collections.abc import AsyncIterator, Iterable

from deployments.checkup.finding import Finding, fine, less, missing
from pipeline.clients.plane import PlaneClient
from pipeline.errors import OrchError, Refused
from pipeline.model import TrackerLabel
from pipeline.projects import Project, normal_label
from pipeline.settings import Settings
from pipeline.stages import Status
from pipeline.states import DEGRADED, SIGNALS, StateList

SPOKEN = (Status.APPROVED, Status.REJECTED, Status.CONFIRM_DEPLOY, Status.STOP)
"""What a person says by moving a card. Nothing stands in for these: without the state it cannot be said."""

NEEDED = (Status.IN_PROGRESS, Status.DONE, Status.CANCELLED)
"""What others degrade to, or what ends an item."""

TOKEN = "as Orch's user: Profile settings, Personal access tokens; then set ORCH_PLANE_TOKEN"  # noqa: S105  advice


async def look_at_plane(client: PlaneClient, projects: Iterable[Project], settings: Settings) -> list[Finding]:
    """Everything about Plane; only the first finding when nothing can be asked. Changes nothing."""
    try:
        users = await client.own_ids()
    except Refused as error:
        return [missing("Plane", str(error), f"Make a token {TOKEN}.")]
    except OrchError as error:
        return [missing("Plane", str(error), "Correct ORCH_PLANE_URL, or start Plane.")]
    found = [fine("Plane", f"Orch is {' and '.join(sorted(users))} there.")]
    for project in projects:
        found += [finding async for finding in _project(client, project, settings)]
    return found


async def _project(client: PlaneClient, project: Project, settings: Settings) -> AsyncIterator[Finding]:
    about = f"Plane {project.key}"
    try:
        states = await client.states(project)
        labels = await client.labels(project)
    except Refused as error:
        step = (
            f"Make Orch's user a member of project {project.plane_project}, or correct ORCH_PLANE_WORKSPACE or the "
            "project's plane_project: both are in the address of its board."
        )
        yield missing(about, str(error), step)
        return
    except OrchError as error:
        yield missing(about, str(error), "Try again in a moment.")
        return
    for finding in look_at_states(StateList(project, states, fetched=0)):
        yield finding
    if settings.heeds_labels(project.repository):
        for name in (settings.auto_approve_label, settings.auto_deploy_label):
            yield _label(about, name, labels)


def look_at_states(states: StateList) -> list[Finding]:
    """What each state that Orch knows is in this project: there, degraded, or missing."""
    about = f"Plane {states.project.key}"
    there = {states.project.status_of(state.name) for state in states.states}
    faults = [_state(about, status, states) for status in Status if status not in there]
    return [fine(about, f"{len(there - {None})} of {len(Status)} states are there."), *faults]


def _state(about: str, status: Status, states: StateList) -> Finding:
    name = status.value.replace("_", " ").title()
    step = f"Add the state {name} to the project, or map your own name for it in the registry (`states`)."
    stand_in = states.id_of(status)
    if status in SPOKEN:
        return missing(about, f"State {name} is missing: {SIGNALS[status]} cannot be said by moving a card.", step)
    if status in NEEDED or stand_in is None:
        return missing(about, f"State {name} is missing, and nothing stands in for it.", step)
    shown = next(state.name for state in states.states if state.id == stand_in)
    what = "starts an item" if status is Status.TO_ANALYSE else "is shown"
    return less(about, f"State {name} is missing: {shown} {what} instead{_why(status)}.", step)


def _why(status: Status) -> str:
    return "" if len(DEGRADED.get(status, ())) == 1 else ", the next best"


def _label(about: str, name: str, labels: Iterable[TrackerLabel]) -> Finding:
    same = [label.name for label in labels if normal_label(label.name) == normal_label(name)]
    if len(same) == 1:
        return fine(about, f"Label {same[0]} is there.")
    if same:
        return less(about, f"Labels {', '.join(same)} are one to Orch, so none counts.", "Remove all but one.")
    return less(about, f"Label {name} is missing, so nobody can use it.", "Add it to the project if you want it.")


def webhook_values(settings: Settings) -> list[str]:
    """What to type into Plane's form, for Plane has no API to make or list webhooks."""
    return [
        "Plane: Workspace settings, Webhooks, Add webhook:",
        f"  Payload URL     {settings.webhook_url('plane')}",
        "  Which events    Let me select individual events: Issues, Issue comments",
        "  Secret          Plane shows it once: set ORCH_PLANE_WEBHOOK_SECRET to it, plane_wh_ included",
    ]


def look_at_webhook_secret(settings: Settings) -> Finding:
    """Whether Plane's deliveries can be checked at all."""
    about = "Plane webhook"
    if settings.plane_webhook_secret.get_secret_value():
        return fine(about, "ORCH_PLANE_WEBHOOK_SECRET is set; whether the webhook is there, Plane tells nobody.")
    return missing(about, "ORCH_PLANE_WEBHOOK_SECRET is not set.", "Make the webhook in Plane, which shows the secret.")
