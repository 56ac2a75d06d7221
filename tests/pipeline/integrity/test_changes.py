"""A diff is read as a whole or not at all."""

import subprocess

import pytest

from pipeline.errors import CouldNotRun
from pipeline.integrity.changes import UnreadableDiff, read
from tests.pipeline.integrity.cases import load
from tests.pipeline.integrity.diffs import added, changed

OPTIONS = ("--no-color", "--no-ext-diff", "--find-renames", "--src-prefix=a/", "--dst-prefix=b/")
MODE = "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
RENAME = "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"


@pytest.fixture
def git(tmp_path):
    """Runs git in an empty repository; the answer as bytes decoded without touching line ends."""

    def run(*arguments):
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "core.autocrlf=false")
        made = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)
        return made.stdout.decode(errors="replace")

    run("init", "--quiet")
    run("commit", "--quiet", "--allow-empty", "--message", "first")
    return run


def difference(git, tmp_path, before, after, *, context="--unified=1000000"):
    for files in (before, after):
        for path in tmp_path.glob("[!.]*"):
            path.unlink()
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "work")
    return git("diff", *OPTIONS, context, "HEAD~1", "HEAD")


def test_both_versions_of_a_file_come_back_as_they_were(git, tmp_path):
    old = b"one\r\ntwo\n--- three\n\x0cfour\n\xe2\x80\xa8five\n" + b"".join(b"%d\n" % n for n in range(50))
    new = old.replace(b"two\n", b"2\n").replace(b"--- three", b"+++ 3") + b"no newline"
    (change,) = read(difference(git, tmp_path, {"a.txt": old}, {"a.txt": new}))
    assert (change.old_text, change.new_text) == (old.decode(), new.decode() + "\n")
    assert [(line.number, line.text) for line in change.removed] == [(2, "two"), (3, "--- three")]
    assert [(line.number, line.text) for line in change.added] == [(2, "2"), (3, "+++ 3"), (56, "no newline")]


@pytest.mark.parametrize(
    "name", ["with space.txt", "grün.txt", 'say "a".txt', "tab\there.txt", "back\\slash.txt", "new\nline.txt"]
)
def test_odd_names_come_back_as_they_were(git, tmp_path, name):
    (change,) = read(difference(git, tmp_path, {name: b"a\n"}, {name: b"b\n"}))
    assert (change.old_path, change.new_path) == (name, name)


def test_added_removed_and_renamed_files_say_so(git, tmp_path):
    body = b"".join(b"line %d\n" % n for n in range(20))
    before, after = {"gone": b"x\n", "old": body}, {"fresh": b"y\nz\n", "new": body, "empty": b""}
    changes = {change.path: change for change in read(difference(git, tmp_path, before, after))}
    assert {path: change.verb for path, change in changes.items()} == {
        "gone": "removed",
        "fresh": "added",
        "new": "renamed from old",
        "empty": "added",
    }


def test_a_binary_file_has_no_text_and_says_so(git, tmp_path):
    (change,) = read(difference(git, tmp_path, {"a.py": b"x\n"}, {"a.py": b"x\0\n"}))
    assert (change.binary, change.old_text, change.new_text) == (True, "", "")


def test_a_mode_alone_is_a_change():
    (change,) = read(MODE)
    assert (change.old_mode, change.new_mode, change.verb) == ("100644", "100755", "changed")


def test_nothing_changed_is_no_change():
    assert read("") == read("\n") == ()


def test_a_last_line_without_a_line_end_is_read():
    assert read(changed("a.txt", "x", "y").rstrip("\n")) == read(changed("a.txt", "x", "y"))


def test_a_file_shown_in_part_is_refused(git, tmp_path):
    old = b"".join(b"%d\n" % n for n in range(100))
    diff = difference(git, tmp_path, {"a": old}, {"a": old.replace(b"50\n", b"x\n")}, context="--unified=3")
    with pytest.raises(UnreadableDiff, match="the diff of a is not complete: it shows a part of the file"):
        read(diff)


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        ("fatal: bad object\n", "line 1 of the diff belongs to no file"),
        (f"warning: slow\n{MODE}", "line 1 of the diff belongs to no file"),
        (f"{added('a', 'x')}warning: slow\n", "line 8 of the diff belongs to no file"),
        (added("a", "x\ny\nz").rpartition("+z")[0], "Hunk is shorter than expected"),
        (added("a", "x").replace("+1,1", "+1,2"), "Hunk is shorter than expected"),
        (added("a", "x").partition("@@")[0], "the content is missing"),
        (added("a", "x").partition("---")[0], "the content is missing"),
        (MODE.partition("new mode")[0], "`old mode` and `new mode` belong together"),
        (RENAME.partition("rename to")[0], "the diff names a file without the prefix"),
        ("diff --git a/x b/x\n", "it says nothing but the name"),
        ("diff --git x y\nold mode 100644\nnew mode 100755\n", "without the prefix 'a/'"),
        ("diff --git a/x b/y\nold mode 100644\nnew mode 100755\n", "whether x and y are one file"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "does not begin with `diff --git`"),
        ("@@ -1 +1 @@\n-a\n+b\n", "Unexpected hunk"),
    ],
)
def test_what_is_no_complete_diff_is_refused_with_the_reason(diff, said):
    with pytest.raises(UnreadableDiff) as refused:
        read(diff)
    assert said in str(refused.value)
    assert "Run the stage again" in str(refused.value)


def test_a_refusal_is_a_value_error_and_no_verdict():
    assert issubclass(UnreadableDiff, ValueError)
    assert issubclass(UnreadableDiff, CouldNotRun)


@pytest.mark.parametrize("case", load(), ids=lambda case: case.name)
def test_no_corpus_diff_can_be_cut_inside_a_file_unnoticed(case):
    """Between two files nobody can tell; within a file a missing line is told, but for a last `\\ No newline`."""
    lines = case.diff.split("\n")[:-1]
    whole = {number for number, line in enumerate(lines) if line.startswith(("diff --git ", "\\ No newline"))}
    for end in range(1, len(lines)):
        if end not in whole:
            with pytest.raises(UnreadableDiff):
                read("\n".join(lines[:end]))
