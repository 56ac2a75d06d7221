"""What a path says about a file: tests, samples, an item's artifacts, and files that decide about checks."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from pathspec import GitIgnoreSpec

from pipeline.integrity.findings import FindingKind

ARTIFACTS = "docs/work-items/"

_TEST_FOLDERS = frozenset({"test", "tests", "spec", "specs", "__tests__", "e2e", "integration_tests"})
_SAMPLE_FOLDERS = frozenset({"fixtures", "testdata", "corpus", "samples", "snapshots", "__snapshots__"})
_TEST_NAME = re.compile(
    r"(?:test_.*|.*_test|tests)\.py"
    r"|.*[._-](?:test|spec|cy)\.[cm]?[jt]sx?"
    r"|.*_test\.(?:go|rb|exs|dart|sh)|.*_spec\.rb|test_.*\.sh|.*\.bats|.*\.feature"
    r"|(?:.*(?:Test|Tests|TestCase|Spec|IT)|Test[A-Z].*)\.(?:java|kt|kts|groovy|scala|cs|php|swift)"
)
_SCRIPTS = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts", ".rs", ".java", ".kt")

CI = GitIgnoreSpec.from_lines(
    [
        *("/.github/**", "!/.github/ISSUE_TEMPLATE/**", "!/.github/*.md", "!/.github/FUNDING.yml"),
        *("/.gitea/**", "!/.gitea/ISSUE_TEMPLATE/**", "!/.gitea/*.md", "/.forgejo/**"),
        *(".gitlab-ci.yml", "/.gitlab/ci/**", "/.woodpecker*", "/.woodpecker/**", ".drone.yml", ".drone.star"),
        *("Jenkinsfile*", "azure-pipelines*.yml", "/.azure-pipelines/**", "/.circleci/**", "/.buildkite/**", "/.ci/**"),
        *("/ci/**", ".travis.yml", "appveyor.yml", "bitbucket-pipelines.yml", ".cirrus.yml", "/.teamcity/**"),
    ]
)
_GATES = GitIgnoreSpec.from_lines(
    [
        *("CODEOWNERS", ".pre-commit-config.yaml", "/.husky/**", "/.githooks/**", "lefthook.y*ml", ".gitattributes"),
        *(
            "/.github/settings.yml",
            "/.github/rulesets/**",
            "*branch-protection*",
            "*branch_protection*",
            ".mergify.yml",
        ),
        *("/.gitea/CODEOWNERS", "bors.toml", ".kodiak.toml", ".policy.yml", ".bulldozer.yml", ".gitlab/*approval*"),
        *("/prefect.yaml", "/orch.toml", "/orch-projects.*", "/projects.toml", "/projects.json"),
    ]
)
AGENT_FILES = GitIgnoreSpec.from_lines(
    [
        *("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "AGENTS.override.md", "AGENT.md", "GEMINI.md", ".mcp.json"),
        *(".claude", ".cursor", ".codex", ".gemini", ".windsurf", ".opencode", ".roo", ".continue", ".junie"),
        *(".cursorrules", ".windsurfrules", ".clinerules*", ".aider*", "opencode.json*"),
        *(
            "/.orch/prompts",
            "/.github/copilot-instructions.md",
            "/.github/instructions/**",
            "/.github/prompts/**",
            "/.github/agents/**",
        ),
    ]
)
"""What tells agents of any make how to work, and which programs to run. An agent finds it as the default branch has it."""
_GUARDED = (
    (AGENT_FILES, FindingKind.AGENT_CHANGED, "Agents' own instructions are"),
    (_GATES, FindingKind.GATE_CHANGED, "A file that decides about gates, merging or Orch itself is"),
    (CI, FindingKind.CI_CHANGED, "CI configuration is"),
)
"""In the order of asking: the first that matches a path names its finding."""


def is_artifact(path: str) -> bool:
    """Whether the file belongs to a work item's own documents."""
    return path.startswith(ARTIFACTS)


def in_test_folder(path: str) -> bool:
    """Whether a folder above the file is one of tests."""
    return not _TEST_FOLDERS.isdisjoint(PurePosixPath(path).parent.parts)


def is_sample(path: str) -> bool:
    """Whether the file is data of tests, however much its name looks like a test or a setting."""
    folders = PurePosixPath(path).parent.parts
    first = next((number for number, folder in enumerate(folders) if folder in _TEST_FOLDERS), len(folders))
    return "testdata" in folders or not _SAMPLE_FOLDERS.isdisjoint(folders[first:])


def is_test(path: str) -> bool:
    """Whether a test runner takes the file for a test by its name."""
    if is_sample(path) or is_artifact(path):
        return False
    name = PurePosixPath(path)
    if _TEST_NAME.fullmatch(name.name):
        return True
    by_folder = "__tests__" in name.parent.parts or (name.suffix == ".rs" and "tests" in name.parent.parts)
    return by_folder and name.suffix in _SCRIPTS


def is_about_tests(path: str) -> bool:
    """Whether the file is a test or something that tests use."""
    if is_sample(path) or is_artifact(path):
        return False
    return is_test(path) or in_test_folder(path) or PurePosixPath(path).name == "conftest.py"


def guard_of(paths: Sequence[str], guarded: GitIgnoreSpec) -> tuple[FindingKind, str] | None:
    """Which finding it is to touch a file of these names, with the beginning of its sentence; None for most files."""
    for spec, kind, said in (*_GUARDED, (guarded, FindingKind.GUARDED_CHANGED, "A file that the project guards is")):
        if any(spec.match_file(path) for path in paths if not is_artifact(path)):
            return kind, said
    return None
