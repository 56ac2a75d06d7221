"""Puts the parts together: one diff in, findings out."""

from collections.abc import Iterator, Sequence
from itertools import chain

from pathspec import GitIgnoreSpec

from pipeline.integrity import commands, compare_tests, paths, settings_files, suppressions
from pipeline.integrity.changes import SUBMODULE, SYMLINK, Change, read
from pipeline.integrity.findings import Finding, FindingKind
from pipeline.integrity.other_tests import language_of, read_other
from pipeline.integrity.python_tests import UnreadableCode, is_python, read_python
from pipeline.integrity.suite import Unit, with_helpers


def analyse(diff: str, *, guarded: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Everything in a diff that weakens the checks which are to judge it, by path and line.

    `diff` is the text of `git diff` with whole files as context (`--unified=1000000`) and renames detected; `guarded`
    are further files, as patterns of .gitignore, that nobody may touch unseen. Pure: the same input gives the same
    findings. Raises `UnreadableDiff` when the text is not such a diff, and `ValueError` for a pattern that is none.
    """
    spec = GitIgnoreSpec.from_lines(guarded)
    changes = [change for change in read(diff) if not all(map(paths.is_artifact, change.paths))]
    found = chain(
        chain.from_iterable(_about_file(change, spec) for change in changes),
        _about_tests(changes),
        suppressions.compare(changes),
        settings_files.compare(changes),
        commands.compare(changes),
    )
    return tuple(sorted(set(found)))


def _about_file(change: Change, guarded: GitIgnoreSpec) -> Iterator[Finding]:
    """What can be said without looking into the file: guarded ones, odd modes, and tests that cannot be compared."""
    guard = paths.guard_of(change.paths, guarded)
    if guard is not None:
        kind, said = guard
        yield Finding(change.path, change.first_line, kind, f"{said} {change.verb}{_mode_change(change)}.")
    elif any(map(paths.is_test, change.paths)):
        yield from _odd_test_file(change)


def _mode_change(change: Change) -> str:
    modes = change.old_mode, change.new_mode
    return f" (mode {modes[0]} to {modes[1]})" if all(modes) and modes[0] != modes[1] else ""


def _odd_test_file(change: Change) -> Iterator[Finding]:
    if change.old_path is not None and change.binary and change.new_path is not None:
        yield Finding(change.path, 1, FindingKind.UNREADABLE, "A test file is shown as binary: nobody can compare it.")
    if change.new_mode in (SYMLINK, SUBMODULE):
        what = "symbolic link" if change.new_mode == SYMLINK else "submodule"
        yield Finding(change.path, 1, FindingKind.UNREADABLE, f"A test file is a {what}: its tests are elsewhere.")
    if change.old_mode == "100755" and change.new_mode == "100644":
        yield Finding(change.path, 1, FindingKind.TEST_SKIPPED, "A test file cannot be executed any more.")


# --- tests -----------------------------------------------------------------------------------------------------------


def _about_tests(changes: Sequence[Change]) -> Iterator[Finding]:
    files = [change for change in changes if any(map(_has_tests, change.paths))]
    for change in files:
        if _leaves_the_suite(change):
            sentence = f"{change.old_path} is {change.path} now, where no test runner looks for it."
            yield Finding(change.path, 1, FindingKind.TEST_FILE_REMOVED, sentence)
    kept = [change for change in files if not _leaves_the_suite(change)]
    sides = [_sides(change) for change in kept]
    old = with_helpers(unit for before, _ in sides for unit in before)
    new = with_helpers(unit for _, after in sides for unit in after)
    renamed = {change.old_path: change.path for change in kept if change.old_path}
    yield from _whole_files(kept, old, list(compare_tests.compare(old, new, renamed)))


def _has_tests(path: str) -> bool:
    about = paths.is_about_tests(path)
    return (about and is_python(path)) or paths.is_test(path) or (language_of(path) is not None)


def _leaves_the_suite(change: Change) -> bool:
    """Whether a test file was renamed to what is none, or out of the folders of tests."""
    if not (change.old_path and change.new_path) or change.old_path == change.new_path:
        return False
    named = paths.is_test(change.old_path) and not paths.is_test(change.new_path)
    placed = paths.in_test_folder(change.old_path) and not paths.in_test_folder(change.new_path)
    return named or (paths.is_test(change.old_path) and placed)


def _sides(change: Change) -> tuple[list[Unit], list[Unit]]:
    """The tests before and after, both read in one way: Python that cannot be parsed here by patterns."""
    versions = (change.old_path, change.old_text), (change.new_path, change.new_text)
    try:
        old, new = (_units(path, text, by_pattern=False) for path, text in versions)
    except UnreadableCode:
        old, new = (_units(path, text, by_pattern=True) for path, text in versions)
    return old, new


def _units(path: str | None, text: str, *, by_pattern: bool) -> list[Unit]:
    if path is None or not text or paths.is_sample(path) or paths.is_artifact(path):
        return []
    if is_python(path) and not by_pattern:
        return read_python(path, text) if paths.is_about_tests(path) else []
    language = language_of(path)
    return [] if language is None else read_other(path, text, language)


def _whole_files(kept: Sequence[Change], old: Sequence[Unit], found: list[Finding]) -> Iterator[Finding]:
    """One finding for a test file that is gone as a whole, instead of one for each of its tests."""
    for change in kept:
        if change.new_path is not None or not paths.is_test(change.path):
            continue
        tests = [unit for unit in old if unit.path == change.path and unit.collected]
        lost = [finding for finding in found if finding.path == change.path]
        if tests and len(lost) == len(tests):
            found = [finding for finding in found if finding not in lost]
            count = f"{len(tests)} test{'' if len(tests) == 1 else 's'}"
            yield Finding(change.path, 1, FindingKind.TEST_FILE_REMOVED, f"The file is gone, with {count}.")
        elif change.binary or (language_of(change.path) is None and change.old_text.strip()):
            sentence = "The file is gone; what it tested cannot be told."
            yield Finding(change.path, 1, FindingKind.TEST_FILE_REMOVED, sentence)
    yield from found
