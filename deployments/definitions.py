"""prefect.yaml, read strictly: the deployments as `prefect deploy` and `orch up` both make them."""

from collections.abc import Mapping
from importlib.resources import files

import yaml
from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import SettingsError

SOURCE = "prefect.yaml"


class _Strict(BaseModel):
    """Prefect ignores keys that it does not know; here they are errors, and so is `triggers:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkPoolName(_Strict):
    """The pool whose worker runs the deployment, and its place there."""

    name: str
    work_queue_name: str = "default"


class Limit(_Strict):
    """How many runs of the deployment may be active, and what happens to one more."""

    limit: int
    collision_strategy: ConcurrencyLimitStrategy


class Every(_Strict):
    """A schedule; `interval` in seconds, `slug` its name within the deployment."""

    slug: str
    interval: float = Field(gt=0)


class Definition(_Strict):
    """One deployment. Its name is its flow's name, so that `review/review` runs the review."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    work_pool: WorkPoolName
    concurrency_limit: Limit | None = None
    schedules: tuple[Every, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that Prefect's commands take."""
        return f"{self.name}/{self.name}"


class PrefectFile(_Strict):
    """The whole file. `pull` is empty and must be: left out, Prefect would note this folder as the code's place."""

    name: str
    pull: tuple[()]
    deployments: tuple[Definition, ...]


class Code(_Strict):
    """What a deployment takes from its flow's source."""

    version: str | None
    parameters: Mapping[str, object]


def read_definitions(text: str | None = None) -> tuple[Definition, ...]:
    """The deployments of `text`, by default of the prefect.yaml that this package was installed with.

    Raises `SettingsError` that names each wrong field.
    """
    content = text if text is not None else files("deployments").joinpath(SOURCE).read_text()
    try:
        return PrefectFile.model_validate(yaml.safe_load(content)).deployments
    except yaml.YAMLError as error:
        raise SettingsError(f"{SOURCE} is not YAML: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{SOURCE}: {problems}.") from error


def read_code(definition: Definition) -> Code:
    """Import the flow and describe it. Raises `SettingsError` when the entrypoint names no flow of that name.

    Imports block: call it in a thread.
    """
    try:
        flow: Flow[..., object] = load_flow_from_entrypoint(definition.entrypoint)
    except (ImportError, AttributeError, LookupError, TypeError) as error:
        raise SettingsError(f"{SOURCE}: {definition.entrypoint} cannot be loaded: {error}.") from error
    if flow.name != definition.name:
        raise SettingsError(f"{SOURCE}: deployment {definition.name} runs a flow that is named {flow.name}.")
    schema = parameter_schema(flow).model_dump(exclude_unset=True)
    return Code(version=flow.version, parameters=schema)
