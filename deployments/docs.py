"""Keeps the pages that repeat the code equal to it: `python -m deployments.docs`, or `make docs`.

The state diagram in README.md and docs/architecture.md is `stages.mermaid()`; docs/configuration.md is made wholly
from the settings, the project registry and the tracker's states. Works in a checkout only, and changes nothing there
when all is as it should be.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pipeline.projects import DEFAULT_STATE_NAMES, Project
from pipeline.settings import Settings
from pipeline.stages import Status, mermaid
from pipeline.states import DEGRADED, SIGNALS

ROOT = Path(__file__).parents[1]

BEGIN, END = "<!-- diagram -->", "<!-- /diagram -->"
PAGES_WITH_DIAGRAM = ("README.md", "docs/architecture.md")
CONFIGURATION = "docs/configuration.md"

GROUPS = {
    "state_dir": "Where things live",
    "projects_json": "Projects",
    "plane_url": "Plane",
    "gitea_url": "Gitea",
    "telegram_api_url": "Telegram",
    "host": "Receiver and Prefect server",
    "agent_kind": "Agents",
    "budget_run_usd": "Budgets and people",
    "max_analyst_retries": "Retries",
    "min_description_chars": "Gates, merge and deploy",
    "lease_ttl_s": "Waiting and waking",
}
"""The first setting of each group -> its heading; a new setting joins the group that it stands in."""

IN_BLOCKS = frozenset(
    {
        *("plane_url", "plane_workspace", "plane_token", "plane_bot_tokens", "gitea_url", "gitea_token"),
        *("telegram_api_url", "telegram_bot_token", "telegram_chat_id"),
        *(
            "agent_kind",
            "agent_command",
            "agent_pass_env",
            "agent_model",
            "agent_effort",
            "agent_timeout_s",
            "agent_idle_timeout_s",
        ),
    }
)
"""Settings that make a block document on the first start; see `deployments.connections`."""

SHOWN_DEFAULTS = {"state_dir": "`~/.local/state/orch`", "settings_file": "`.env`"}
"""Defaults that depend on the machine, as they are on most."""

EXAMPLE = """\
[[projects]]
key = "WID"                                   # WID-12 is an issue of this project
plane_project = "3f0c0c1e-6f0e-4c58-9f0f-2b9f5f5d8a11"
repository = "acme/widgets"
test_command = ["python", "-m", "pytest", "-q"]

[projects.states]                             # only for names that Orch does not know by itself
"Ready for the robots" = "to_analyse"
"""

INTRODUCTION = """\
# Configuration

<!-- Made by `make docs` from pipeline/settings/, pipeline/projects.py and pipeline/states.py: change those. -->

Settings are environment variables; a file `.env` in the folder where `orch` is started is read as well, and the
environment wins. `orch up` says which of the necessary ones are missing, and hands all of them on to the processes that
it starts. The other `orch` commands read the same settings: run them in the same folder.

- **secret**: is never logged. Keep `.env` readable by its owner only.
- **block**: used once, when `orch up` makes the Prefect block `orch` of that kind. Afterwards the block is what counts:
  change it in Prefect's pages (*Blocks*), or delete it there and start `orch up` again, which makes it anew.
- Lists are words separated by blanks (or a JSON list for commands); times are seconds; switches are `true` or `false`.

Three variables are not Orch's own. They have to be in the environment itself, because `.env` is searched for `ORCH_`
only: `PREFECT_API_URL` and `PREFECT_API_AUTH_STRING` (a Prefect server of your own), and whatever
`ORCH_AGENT_PASS_ENV` names (the agent's model credential).
"""

PROJECTS = """\
## The project registry

A list of `[[projects]]` in the file that `ORCH_PROJECTS_FILE` names, or the same as a JSON list in `ORCH_PROJECTS_JSON`.
Unknown fields are refused. Key, Plane project and repository may each occur only once. It is read when a process
starts: start `orch up` again after a change.
"""

STATES = """\
## States in Plane

States are found by their names in the project's own list; case, `_` and `-` do not matter, and `states` of a project
maps further names. What a project lacks is shown as the next best that it has. A state by which a person speaks to Orch
has no such stand-in, except that *In Progress* starts an item on a board without *To Analyse*: without the state there
is no such signal.
"""


def with_diagram(page: str) -> str:
    """A page with the diagram between its markers as the code has it. Raises `ValueError` without the markers."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END} for the diagram")
    return f"{before}{BEGIN}\n```mermaid\n{mermaid()}\n```\n{END}{after}"


def configuration() -> str:
    """docs/configuration.md, wholly."""
    return "\n".join((INTRODUCTION, *_settings(), PROJECTS, _project(), _example(), STATES, _states()))


def pages(root: Path) -> dict[Path, str]:
    """Every page that is made here, with the text that it should have."""
    made = {root / name: with_diagram((root / name).read_text()) for name in PAGES_WITH_DIAGRAM}
    return made | {root / CONFIGURATION: configuration()}


def write(root: Path = ROOT) -> list[str]:
    """Bring the pages up to date; the names of those that were not. Idempotent."""
    changed = []
    for path, text in pages(root).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(str(path.relative_to(root)))
    return changed


def _settings() -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            if rows:
                yield _table(("variable", "default", "meaning", ""), rows)
                rows = []
            yield f"## {GROUPS[name]}\n"
        notes = [word for word, holds in (("secret", _secret(field)), ("block", name in IN_BLOCKS)) if holds]
        rows.append((f"`ORCH_{name.upper()}`", _default(name, field), _meaning(field), ", ".join(notes)))
    yield _table(("variable", "default", "meaning", ""), rows)


def _project() -> str:
    rows = [(f"`{name}`", _default(name, field), _meaning(field)) for name, field in Project.model_fields.items()]
    return _table(("field", "default", "meaning"), rows)


def _example() -> str:
    return f"```toml\n{EXAMPLE}```\n"


def _states() -> str:
    names: dict[Status, list[str]] = {status: [] for status in Status}
    for name, status in DEFAULT_STATE_NAMES.items():
        names[status].append(name)
    rows = [
        (
            f"`{status}`",
            ", ".join(sorted(known)),
            f"`{SIGNALS[status]}`" if status in SIGNALS else "",
            ", ".join(f"`{other}`" for other in DEGRADED.get(status, ())),
        )
        for status, known in names.items()
    ]
    return _table(("key", "names", "a card moved there means", "stand-in, in this order"), rows)


def _secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def _meaning(field: FieldInfo) -> str:
    text = field.description or ""
    if get_origin(field.annotation) is Literal:
        text += f" One of {', '.join(f'`{value}`' for value in get_args(field.annotation))}."
    return text.replace("|", "\\|")


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    if name in SHOWN_DEFAULTS:
        return SHOWN_DEFAULTS[name]
    shown = _shown(field.get_default(call_default_factory=True))
    return f"`{shown}`" if shown else ""


def _shown(value: Any) -> str:
    """A default as it would be written into the environment; blank for nothing."""
    match value:
        case bool():
            return str(value).lower()
        case SecretStr() | None:
            return ""
        case tuple():
            return " ".join(map(str, value))
        case Mapping():
            return ""
        case _:
            return str(value)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    for written in write():
        typer.echo(f"wrote {written}")
