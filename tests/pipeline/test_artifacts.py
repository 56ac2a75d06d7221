"""Front matter is either read exactly or refused with a reason; it is never guessed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.artifacts import FrontMatter, Unreadable, has_front_matter, read_front_matter

HEAD = "0123456789abcdef0123456789abcdef01234567"


def test_verdict_commit_and_body_are_read():
    artifact = read_front_matter(f"---\nverdict: approved\ncommit: {HEAD.upper()}\n---\n\n# Review\n\nFine.\n")
    assert artifact == FrontMatter({"verdict": "approved", "commit": HEAD.upper()}, "# Review\n\nFine.")
    assert (artifact.verdict, artifact.commit) == ("approved", HEAD)


@pytest.mark.parametrize("commit", ["123456789012", "1234567890e12", "012345670123"])
def test_a_commit_that_looks_like_a_number_stays_what_was_written(commit):
    artifact = read_front_matter(f"---\ncommit: {commit}\n---\n")
    assert isinstance(artifact, FrontMatter)
    assert artifact.commit == commit


def test_windows_line_ends_are_understood():
    artifact = read_front_matter("---\r\nverdict: passed\r\n---\r\nBody\r\n")
    assert isinstance(artifact, FrontMatter)
    assert (artifact.verdict, artifact.body) == ("passed", "Body")


def test_a_rule_in_the_body_is_not_the_end_of_anything():
    artifact = read_front_matter("---\nverdict: passed\n---\nOne\n\n---\n\nTwo\n")
    assert isinstance(artifact, FrontMatter)
    assert artifact.body == "One\n\n---\n\nTwo"


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "no front matter", 1),
        ("# Review\n", "no front matter", 1),
        ("\n---\nverdict: approved\n---\n", "no front matter", 1),
        ("---\nverdict: approved\n", "not closed", None),
        ("---\nverdict: approved\ncommit: a\nverdict: approved\n---\n", "given twice", 4),
        ("---\nouter:\n  a: 1\n  a: 2\n---\n", "given twice", 4),
        ("---\nverdict: approved\ncommit: [a\n---\n", "not valid YAML", 4),
        ("---\n- approved\n---\n", "not a mapping", None),
        ("---\napproved\n---\n", "not a mapping", None),
        ("---\n---\n", "not a mapping", None),
        ("---\nverdict: approved\n...\nverdict: request_changes\n---\n", "not valid YAML", None),
        ("---\nverdict: \x07\n---\n", "not valid YAML", None),
        ("---\na: " + "x" * 70_000 + "\n---\n", "longer than", None),
        ("---\na: " + "[" * 5_000 + "\n---\n", "nested too deeply", None),
    ],
)
def test_what_cannot_be_relied_on_is_refused_with_its_line(text, reason, line):
    found = read_front_matter(text)
    assert isinstance(found, Unreadable)
    assert reason in str(found)
    if line is not None:
        assert found.line == line
        assert f"(line {line})" in str(found)


@pytest.mark.parametrize("written", ["", "''", "[approved]", "{a: b}"])
def test_a_verdict_that_is_no_word_is_none(written):
    artifact = read_front_matter(f"---\nverdict: {written}\n---\n")
    assert isinstance(artifact, FrontMatter)
    assert artifact.verdict is None


@pytest.mark.parametrize(
    ("named", "about"),
    [
        (HEAD, True),
        (HEAD[:12], True),
        (HEAD[:11], False),
        (HEAD[:12] + "x", False),
        (HEAD[1:], False),
        (HEAD + "0", False),
        ("", False),
        ("HEAD", False),
    ],
)
def test_a_commit_is_named_in_full_or_by_twelve_characters_or_more(named, about):
    assert FrontMatter({"commit": named}, "").about(HEAD) is about


def test_front_matter_that_was_meant_is_told_from_none():
    assert has_front_matter("---\nbroken: [\n")
    assert not has_front_matter("# Title\n\n---\n")


@given(st.text())
@example("---\n? [a]\n: b\n---\n")
@example("---\n&a [*a]: b\n---\n")
@example("---\na: !!int x\nb: !!timestamp y\nc: 2024-99-99\n---\n")
@example("---\na: !!python/object/apply:os.system [true]\n---\n")
def test_any_text_is_read_or_refused_and_nothing_is_raised(text):
    assert isinstance(read_front_matter(text), FrontMatter | Unreadable)


@given(st.text(alphabet="ab:-[]{}&*!?|>'\"#%@ \n\t0", max_size=60))
def test_any_yaml_is_read_or_refused_and_nothing_is_raised(yaml):
    assert isinstance(read_front_matter(f"---\n{yaml}\n---\n"), FrontMatter | Unreadable)
