"""What the checks are about: one running Orch as this command's settings name it, and what was created there."""

from dataclasses import dataclass
from datetime import datetime

from blocks import PlaneWorkspace
from deployments.staging_check.mode import Mode
from pipeline.errors import SettingsError
from pipeline.model import TrackerItem
from pipeline.projects import Project, Registry
from pipeline.settings import Settings
from pipeline.states import StateList

START_S = 180.0
"""Seconds from the moved card until the analyst is at work: webhook, intake, a cold worker, a first clone."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was written, and the project that it belongs to."""

    project: Project
    item: TrackerItem

    @property
    def key(self) -> str:
        """Its key, such as `WID-12`."""
        return self.project.work_item_key(self.item.sequence_id)


@dataclass
class Attempt:
    """What the end-to-end start leaves to the clean-up, made before anything is written.

    `card` is None until Plane has answered, `told_at` (seconds of a monotonic clock) until the receiver may know.
    """

    plane: PlaneWorkspace
    states: StateList
    begun: datetime
    card: Card | None = None
    told_at: float | None = None


@dataclass
class Staging:
    """One running staging stand. `mark` is random and part of the title of the card that is written there."""

    settings: Settings
    registry: Registry
    mode: Mode
    mark: str
    attempt: Attempt | None = None

    @property
    def title(self) -> str:
        """The title of the card."""
        return f"Staging check {self.mark}: written by `orch staging-check`, nothing is to be done"

    @property
    def start_within_s(self) -> float:
        """How long the end-to-end start may take."""
        return START_S + (self.settings.agent_timeout_s if self.mode is Mode.LIVE else 0)

    def project(self) -> Project:
        """The project to start an item on. Raises `SettingsError` when it is not plain which."""
        name, known = self.settings.staging_check_project, ", ".join(sorted(self.registry))
        if name and name not in self.registry:
            raise SettingsError(f"ORCH_STAGING_CHECK_PROJECT is {name}, which is not in the registry ({known}).")
        if not name and len(self.registry) != 1:
            raise SettingsError(
                f"The registry has {len(self.registry)} projects ({known}): name the sandbox project, on which an item"
                " may be started, in ORCH_STAGING_CHECK_PROJECT."
            )
        return self.registry[name or next(iter(self.registry))]


def staging_of(settings: Settings, mode: Mode, *, mark: str) -> Staging:
    """The stand that these settings name. Raises `SettingsError` when it is not for checking, or settings are missing."""
    if settings.stand != "staging":
        raise SettingsError(
            f"These settings are of a {settings.stand} stand, where no check may start an item: run this with the"
            " settings of the staging stand, which have ORCH_STAND=staging."
        )
    settings.require()
    return Staging(settings, settings.registry(), mode, mark)
