"""The analysis as a whole: what it never does, whatever the diff."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.integrity import Finding, FindingKind, UnreadableDiff, analyse
from tests.pipeline.integrity.cases import load
from tests.pipeline.integrity.diffs import added, changed, removed

DIFFS = [case.diff for case in load()]
PATHS = st.sampled_from(
    [
        *("tests/test_a.py", "tests/conftest.py", "shop/a.py", "src/a.test.ts", "a_test.go", "src/lib.rs"),
        *("src/test/java/ATest.java", "pyproject.toml", "setup.cfg", "tox.ini", "package.json", "codecov.yml"),
        *("jest.config.js", "Makefile", ".github/workflows/ci.yml", "tsconfig.json", ".coveragerc", "eslint.config.js"),
    ]
)
PIECES = st.sampled_from(
    [
        *(
            "def test_a():",
            "    assert True",
            "    return",
            "class TestA:",
            "@pytest.mark.skip(",
            '"""',
            "'",
            "(",
            "[",
            "{",
        ),
        *(
            "it('a', () => {",
            "#[test]",
            "fn a() {",
            "func TestA(t *testing.T) {",
            "@Test",
            "void a() {",
            "}",
            ")",
            "`",
            "/*",
        ),
        *(
            "[tool.pytest.ini_options]",
            "[run]",
            'addopts = "-k',
            "fail_under = 1e999",
            "- a: &a [*a]",
            "\t-pytest || true",
        ),
        *("# noqa: E501,", "# type: ignore[", "\\", "\f", "\u2028", "\ud7ff", "=" * 50, "  ", "0x" + "f" * 40),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=12).map("\n".join)
DECENT = TEXTS.filter(lambda text: "\r" not in text)


def said(diff, **options):
    return [(finding.path, finding.line, finding.kind) for finding in analyse(diff, **options)]


@given(st.text())
def test_garbage_is_refused_or_means_no_change(text):
    try:
        assert analyse(text) == ()
    except UnreadableDiff:
        assert text.strip()


@given(st.sampled_from(DIFFS), st.data())
@settings(max_examples=100)
def test_a_truncated_diff_is_refused_or_judged(diff, data):
    end = data.draw(st.integers(0, len(diff)))
    try:
        findings = analyse(diff[:end])
    except UnreadableDiff:
        return
    assert all(isinstance(finding, Finding) and finding.line > 0 for finding in findings)


@given(st.sampled_from(DIFFS), st.data())
@settings(max_examples=100)
def test_a_damaged_diff_is_refused_or_judged(diff, data):
    lines = diff.split("\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = data.draw(PIECES | st.sampled_from(lines))
    try:
        analyse("\n".join(lines))
    except UnreadableDiff:
        return


@given(PATHS, DECENT, DECENT)
@settings(max_examples=100)
def test_no_content_of_a_file_makes_it_fail(path, old, new):
    for diff in (added(path, new), removed(path, old), changed(path, old, new)):
        findings = analyse(diff)
        assert list(findings) == sorted(set(findings))


@given(DECENT)
def test_a_file_that_only_repeats_itself_has_no_finding(text):
    assert analyse(changed("tests/test_a.py", text, text)) == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/a.test.js", "/*" * 20_000),
        ("src/a.test.js", "it(`" * 20_000),
        ("src/lib.rs", "#[test " * 20_000),
        ("src/test/ATest.java", "@Property " * 5_000),
        ("jest.config.js", "\n" * 50_000),
        ("tox.ini", " " * 200_000),
        ("tests/test_a.py", "x = " + "-" * 50_000 + "1"),
        ("tests/test_a.py", "x = " + "(" * 5_000),
        ("package.json", "[" * 50_000),
        (
            "codecov.yml",
            "a: &a [x,x]\n"
            + "\n".join(f"{y}: &{y} [*{x},*{x},*{x}]" for x, y in zip("abcdefgh", "bcdefghi", strict=True)),
        ),
        ("codecov.yml", "a: &a [*a]\n"),
        ("pyproject.toml", "[tool.coverage.report]\nfail_under = 0x" + "f" * 9_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_hostile_file_is_judged_all_the_same(path, text):
    assert isinstance(analyse(added(path, text)), tuple)


def test_guarded_files_are_the_projects_own_patterns():
    diff = changed("deploy/prod/stack.yml", "replicas: 2", "replicas: 1")
    assert said(diff) == []
    found = [("deploy/prod/stack.yml", 1, FindingKind.GUARDED_CHANGED)]
    assert said(diff, guarded=("deploy/**",)) == said(diff, guarded=("stack.yml",)) == found
    assert said(diff, guarded=("deploy/**", "!deploy/prod/**")) == []


def test_an_items_artifacts_are_never_findings_even_when_guarded():
    path = "docs/work-items/WID-12/test_a.py"
    assert said(added(path, "# noqa\npytest.skip()"), guarded=("docs/**",)) == []


def test_what_only_looks_like_the_artifacts_folder_is_no_excuse():
    diff = removed("sub/docs/work-items/WID-12/tests/test_a.py", "def test_a():\n    assert f()")
    assert said(diff) == [("sub/docs/work-items/WID-12/tests/test_a.py", 1, FindingKind.TEST_FILE_REMOVED)]


def test_findings_are_ordered_by_place_and_each_is_told_once():
    diff = added("b.py", "x = 1  # noqa\ny = 2  # noqa") + added("a.py", "x = 1  # noqa")
    assert [(path, line) for path, line, _ in said(diff)] == [("a.py", 1), ("b.py", 1), ("b.py", 2)]
