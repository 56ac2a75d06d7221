"""The project registry: which tracker project belongs to which repository, and how its checks are run."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self
from uuid import UUID

from pathspec import GitIgnoreSpec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import SettingsError
from pipeline.stages import Status

Probe = str | tuple[str, ...]
"""How a running service is asked: an HTTP address, or a command as an argument list; empty: not at all."""

DEFAULT_STATE_NAMES: dict[str, Status] = {
    "to analyse": Status.TO_ANALYSE,
    "to analyze": Status.TO_ANALYSE,
    "code review": Status.CODE_REVIEW,
    "review": Status.CODE_REVIEW,
    "confirm deploy": Status.CONFIRM_DEPLOY,
    "awaiting deploy": Status.AWAITING_DEPLOY,
    "canceled": Status.CANCELLED,
} | {status.value.replace("_", " "): status for status in Status}
"""How state names are understood, compared without case and with `_` and `-` read as blanks."""


def normal_name(name: str) -> str:
    """A state or label name as it is compared: lower case, single blanks, no punctuation between words."""
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def normal_label(name: str) -> str:
    """A label's name as it is compared: `autoApprove`, `auto-approve` and `Auto Approve` are one."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


class Project(BaseModel):
    """One project under Orch's care."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=r"^[A-Z][A-Z0-9]{0,11}$", description="Plane's project identifier: the WID of WID-12.")
    plane_project: UUID = Field(description="Plane's project id.")
    repository: str = Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", description="Gitea repository as owner/name.")
    default_branch: str = Field(default="main", min_length=1, description="The branch that changes land on.")
    test_command: tuple[str, ...] = Field(
        min_length=1, description="The project's tests as an argument list; no shell is involved."
    )
    test_timeout_s: float = Field(default=1800, gt=0, description="Seconds after which a test run counts as red.")
    max_active_items: int = Field(
        default=0,
        ge=0,
        description="How many items may be past analysis at a time; the others wait in order of arrival, urgent ones "
        "first. 0: no limit.",
    )
    ci: Literal["forge", "own"] = Field(
        default="forge",
        description="`forge`: development is left on the forge's combined commit status; `own`: on Orch's own test run.",
    )
    repeat_red_tests: bool = Field(
        default=False, description="Run red tests once more, for projects with flaky ones; both results are recorded."
    )
    junit_xml: str = Field(
        default="",
        description="JUnit XML that the test command writes, as a path in the checkout; names failing tests.",
    )

    # --- change integrity
    integrity_files: tuple[str, ...] = Field(
        default=(),
        description="Globs of further files that a change may not touch without a person's word, such as `deploy/**`.",
    )

    # --- coverage
    coverage_command: tuple[str, ...] = Field(
        default=(), description="Runs the tests with coverage and writes `coverage_xml`; empty: not compared."
    )
    coverage_xml: str = Field(
        default="coverage.xml", description="Cobertura XML that the coverage command writes, as a path in the checkout."
    )
    coverage_tolerance: float = Field(
        default=0, ge=0, le=100, description="Percentage points that coverage may fall below the baseline."
    )

    # --- staging
    artifact: str = Field(
        default="",
        description="Name of what staging builds, given to hooks as ORCH_ARTIFACT; `{revision}` is replaced.",
    )
    staging_deploy: tuple[str, ...] = Field(
        default=(), description="Builds the artifact from ORCH_EXPECTED_REVISION and runs it on staging."
    )
    staging_probe: Probe = Field(
        default=(), description="Says which revision staging runs: an HTTP address or a command, as for `health_probe`."
    )
    staging_check: tuple[str, ...] = Field(default=(), description="Checks staging; exit code 0 is healthy.")

    # --- production
    deploy_hook: tuple[str, ...] = Field(
        default=(), description="Brings the artifact of ORCH_EXPECTED_REVISION to production; must bear repetition."
    )
    health_probe: Probe = Field(
        default=(),
        description="Says whether production is healthy and which revision serves: an HTTP address that answers 200 with "
        'JSON `{"revision": "..."}`, or a command that prints the revision as its last line.',
    )
    rollback_hook: tuple[str, ...] = Field(
        default=(), description="Brings ORCH_EXPECTED_REVISION (the one before) back to production."
    )
    hook_pass_env: tuple[str, ...] = Field(
        default=(), description="Names of variables let through to hooks and checks, such as a registry's credential."
    )
    hook_timeout_s: float = Field(default=1800, gt=0, description="Seconds that any hook or check may take.")
    probe_timeout_s: float = Field(default=10, gt=0, description="Seconds that one probe may take.")
    verify_within_s: float = Field(
        default=60, ge=0, description="Seconds after the deploy hook within which the probe must see the new revision."
    )
    monitor_window_s: float = Field(
        default=0, ge=0, description="Seconds that production is watched after a deploy; 0: not at all."
    )
    monitor_interval_s: float = Field(default=30, gt=0, description="Seconds between two probes of the window.")
    monitor_failures: int = Field(default=3, ge=1, description="Unhealthy probes in a row that count as degraded.")
    revert_when_degraded: bool = Field(
        default=False, description="Revert the change on the default branch, through the merge gate, when it degrades."
    )
    self_hosting: bool = Field(
        default=False, description="This repository is Orch's own: its deploy hook restarts Orch, so it runs detached."
    )

    states: dict[str, Status] = Field(
        default_factory=dict, description="State names that Orch does not know by itself -> logical key."
    )

    @field_validator("staging_probe", "health_probe")
    @classmethod
    def _http_or_command(cls, value: Probe) -> Probe:
        if isinstance(value, str) and value and not value.startswith(("http://", "https://")):
            raise ValueError("is neither an http(s) address nor an argument list")
        return value

    @field_validator("hook_pass_env")
    @classmethod
    def _none_of_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ours = [name for name in value if name.startswith(("ORCH_", "PREFECT_"))]
        if ours:
            raise ValueError(
                f"may not let {', '.join(ours)} through: settings and secrets of Orch are no hook's business"
            )
        return value

    @field_validator("integrity_files")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        GitIgnoreSpec.from_lines(value)  # raises ValueError for one that is none
        return value

    @model_validator(mode="after")
    def _hooks_fit_together(self) -> Self:
        needs = (
            ("staging_deploy", "staging_probe", "or nobody can tell what runs on staging"),
            ("deploy_hook", "health_probe", "or nobody can tell what serves production"),
            ("rollback_hook", "deploy_hook", "there is nothing to roll back otherwise"),
            ("revert_when_degraded", "monitor_window_s", "nothing is watched otherwise"),
            ("monitor_window_s", "health_probe", "there is nothing to look at otherwise"),
            ("self_hosting", "deploy_hook", "its deploy is what makes it special"),
        )
        for setting, needed, why in needs:
            if getattr(self, setting) and not getattr(self, needed):
                raise ValueError(f"{setting} needs {needed}: {why}")
        return self

    @field_validator("default_branch")
    @classmethod
    def _plain_branch(cls, value: str) -> str:
        if value.startswith("-") or ".." in value or any(c in value for c in " ~^:?*[\\"):
            raise ValueError("is not a branch name")
        return value

    def artifact_of(self, revision: str) -> str:
        """What ORCH_ARTIFACT says for a revision."""
        return self.artifact.replace("{revision}", revision)

    @property
    def merge_limit(self) -> str:
        """Name of the global concurrency limit that orders this project's landings."""
        return f"merge-{self.key}"

    def status_of(self, state_name: str) -> Status | None:
        """What a state's name means in this project; None for a name that means nothing to Orch."""
        name = normal_name(state_name)
        own = {normal_name(known): status for known, status in self.states.items()}
        return own.get(name) or DEFAULT_STATE_NAMES.get(name)

    def work_item_key(self, sequence_id: int) -> str:
        """The key of an issue, such as `WID-12`."""
        return f"{self.key}-{sequence_id}"


class Registry(Mapping[str, Project]):
    """All projects by key; also found by the tracker's project id and the forge's repository name."""

    def __init__(self, projects: tuple[Project, ...] = ()) -> None:
        """Raises `SettingsError` when two projects share a key, a tracker project or a repository."""
        self._by_key = {project.key: project for project in projects}
        self._by_plane = {str(project.plane_project): project for project in projects}
        self._by_repository = {project.repository.casefold(): project for project in projects}
        for name, found in (
            ("key", self._by_key),
            ("plane_project", self._by_plane),
            ("repository", self._by_repository),
        ):
            if len(found) != len(projects):
                raise SettingsError(f"Two projects of the registry share the same {name}; each needs its own.")

    def __getitem__(self, key: str) -> Project:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def of_tracker(self, project_id: str) -> Project | None:
        """The project with this Plane project id."""
        return self._by_plane.get(project_id.lower())

    def of_repository(self, full_name: str) -> Project | None:
        """The project with this `owner/name`, compared without case as Gitea does."""
        return self._by_repository.get(full_name.casefold())

    def of_work_item(self, key: str) -> Project | None:
        """The project that a work item key such as `WID-12` belongs to."""
        return self._by_key.get(key.rpartition("-")[0])


def load_registry(projects_json: str, projects_file: Path | None) -> Registry:
    """Read the registry from JSON text (a list of projects) or a TOML file (`[[projects]]`); JSON wins.

    Raises `SettingsError` that names each wrong field of each project.
    """
    if projects_json.strip():
        try:
            raw = json.loads(projects_json)
        except ValueError as error:
            raise SettingsError(f"ORCH_PROJECTS_JSON is not JSON: {error}.") from error
        source = "ORCH_PROJECTS_JSON"
    elif projects_file is not None:
        source = str(projects_file)
        try:
            raw = tomllib.loads(projects_file.read_text()).get("projects", [])
        except OSError as error:
            raise SettingsError(f"ORCH_PROJECTS_FILE cannot be read: {error}.") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{source} is not TOML: {error}.") from error
    else:
        return Registry()
    if not isinstance(raw, list):
        raise SettingsError(f"{source} must hold a list of projects.")
    return Registry(tuple(_project(source, number, entry) for number, entry in enumerate(raw, 1)))


def _project(source: str, number: int, entry: object) -> Project:
    try:
        return Project.model_validate(entry)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{source}, project {number}: {problems}.") from error
