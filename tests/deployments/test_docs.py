"""The pages say what the code says."""

import re
import tomllib
from pathlib import Path

import pytest

from deployments import docs
from deployments.init import init
from pipeline.projects import Project, Registry, load_registry
from pipeline.settings import Settings
from pipeline.stages import TABLE, mermaid

README = (docs.ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", *(str(path.relative_to(docs.ROOT)) for path in (docs.ROOT / "docs").rglob("*.md")))


def block(page: str, language: str, containing: str) -> str:
    """The code block of `page` in `language` that contains a text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the pages that the generator needs, all out of date."""
    (tmp_path / "docs").mkdir()
    for name in docs.PAGES_WITH_DIAGRAM:
        (tmp_path / name).write_text(f"above\n{docs.BEGIN}\nan old picture\n{docs.END}\nbelow\n")
    return tmp_path


def test_every_page_is_up_to_date() -> None:
    stale = [
        str(path.relative_to(docs.ROOT)) for path, text in docs.pages(docs.ROOT).items() if path.read_text() != text
    ]
    assert stale == [], "run `make docs`"


def test_writing_twice_changes_nothing_the_second_time(checkout: Path) -> None:
    assert docs.write(checkout) == ["README.md", "docs/architecture.md", "docs/configuration.md"]
    assert docs.write(checkout) == []


def test_the_diagram_replaces_only_what_is_between_its_markers(checkout: Path) -> None:
    docs.write(checkout)
    assert (checkout / "README.md").read_text() == (
        f"above\n{docs.BEGIN}\n```mermaid\n{mermaid()}\n```\n{docs.END}\nbelow\n"
    )


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="diagram"):
        docs.with_diagram("no picture here")


def test_every_setting_has_one_row_and_a_meaning() -> None:
    rows = re.findall(r"^\| `(ORCH_\w+)` \| [^|]* \| ([^|]+) \|", docs.configuration(), re.MULTILINE)
    assert [name for name, _ in rows] == [f"ORCH_{name.upper()}" for name in Settings.model_fields]
    assert all(meaning.strip() for _, meaning in rows)


def test_every_secret_is_marked() -> None:
    marked = set(re.findall(r"^\| `(ORCH_\w+)` .*\bsecret(?:, block)? \|$", docs.configuration(), re.MULTILINE))
    assert marked == {
        f"ORCH_{name}"
        for name in (
            "PLANE_TOKEN",
            "PLANE_WEBHOOK_SECRET",
            "GITEA_TOKEN",
            "GITEA_WEBHOOK_SECRET",
            "TELEGRAM_BOT_TOKEN",
            "TELEGRAM_WEBHOOK_SECRET",
            "OPERATOR_TOKEN",
        )
    }


def test_groups_and_block_settings_are_settings() -> None:
    assert (set(docs.GROUPS) | docs.IN_BLOCKS | set(docs.SHOWN_DEFAULTS)) <= set(Settings.model_fields)
    assert next(iter(docs.GROUPS)) == next(iter(Settings.model_fields)), "the first setting opens the first group"


def test_every_field_of_a_project_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", docs.configuration().partition("## The project registry")[2], re.MULTILINE)
    assert rows[: len(Project.model_fields)] == list(Project.model_fields)


def test_the_pages_name_no_folder_of_the_machine_that_made_them() -> None:
    assert str(Path.home()) not in docs.configuration().replace("~", "")
    assert str(docs.ROOT) not in docs.configuration()


def registry(toml: str, folder: Path) -> Registry:
    """The registry that the example `toml` is."""
    file = folder / "projects.toml"
    file.write_text(toml)
    return load_registry("", file)


def test_the_example_registries_can_be_read(tmp_path: Path) -> None:
    assert list(registry(docs.EXAMPLE, tmp_path)) == ["WID"]
    assert list(registry(block(README, "toml", "[[projects]]"), tmp_path)) == ["WID"]


def test_what_init_writes_and_the_readme_says_is_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ORCH_{name.upper()}", raising=False)
    init(Path())
    (tmp_path / "projects.toml").write_text(block(README, "toml", "[[projects]]"))
    blanks = re.findall(r"^(ORCH_\w+)=$", (tmp_path / ".env").read_text(), re.MULTILINE)
    for name in blanks:
        monkeypatch.setenv(name, "filled in")
    settings = Settings()
    settings.require()
    assert settings.registry()["WID"].repository == "acme/widgets"
    assert settings.agent == ("claude-code", ("claude",))
    assert settings.agent_pass_env == ("ANTHROPIC_API_KEY",)


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((docs.ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["postgres"], *extras["dev"]]
    names = {re.split(r"[\[<>=~! ]", text, maxsplit=1)[0] for text in needed} - {project["name"]}
    table = (docs.ROOT / "docs/decisions/0002-dependencies.md").read_text()
    told = {name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}
    assert told == names


def test_the_architecture_tells_every_gate() -> None:
    page = (docs.ROOT / "docs/architecture.md").read_text()
    table = page.partition("| at | who works |")[2]
    assert [gate for row in TABLE for gate in row.gates if f"`{gate}`" not in table] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_that_exist(name: str) -> None:
    page = docs.ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


NO_SETTINGS = {"ORCH_MAX", "ORCH_EXPECTED_REVISION", "ORCH_WORK_ITEM", "ORCH_ARTIFACT"}
"""A prefix, and what hooks are told."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_settings_that_a_page_names_exist(name: str) -> None:
    named = set(re.findall(r"\bORCH_[A-Z0-9_]*[A-Z0-9]\b(?!_)", (docs.ROOT / name).read_text())) - NO_SETTINGS
    assert named <= {f"ORCH_{field.upper()}" for field in Settings.model_fields}
