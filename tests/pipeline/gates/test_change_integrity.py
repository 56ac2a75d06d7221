"""Review: a change that weakens its own checks waits for a person's word about exactly that head."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.errors import CouldNotRun
from pipeline.gates import GATES
from pipeline.model import Answer, Choice, Decision, WaitKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEST = "def test_price():\n    assert price() == 1\n"
OPTIONS = ("--no-color", "--no-ext-diff", "--find-renames", "--unified=1000000", "--src-prefix=a/", "--dst-prefix=b/")


class Branch:
    """The workspace of a repository: what a commit changes since the first one."""

    def __init__(self, repository):
        self.repository = repository
        self.base = repository.commit({"tests/test_price.py": TEST, "deploy/stack.yml": "replicas: 2\n"})

    def diff(self, commit):
        return self.repository.git("diff", *OPTIONS, self.base, commit)


@pytest.fixture
def change(look, repository):
    """A look at a branch that makes this change; a removed file is given as None."""
    branch = Branch(repository)

    def made(files):
        for path in (path for path, text in files.items() if text is None):
            (repository.folder / path).unlink()
        head = repository.commit({path: text for path, text in files.items() if text is not None})
        return replace(look, workspace=branch, tip=head, head=head)

    return made


def word(choice, commit, text="", kind=WaitKind.INTEGRITY):
    return Decision(kind, choice, commit, "Ann", text, NOW)


async def ask(look):
    return await GATES["change_integrity"].ask(look)


async def test_a_change_without_findings_is_green(change):
    look = change({"shop/price.py": "def price(): return 1\n"})
    result = await ask(look)
    assert (result.answer, result.commit) == (Answer.PASS, look.head)


async def test_an_empty_change_is_green(change, repository):
    assert (await ask(change({}))).answer is Answer.PASS


async def test_a_finding_waits_for_a_person_and_says_what_and_where(change):
    look = change({"tests/test_price.py": TEST.replace("price() == 1", "True")})
    result = await ask(look)
    assert (result.answer, result.waits_for, result.commit) == (Answer.PENDING, WaitKind.INTEGRITY, look.head)
    assert result.sentence == "A person must accept or reject 1 finding (tests/test_price.py:1 assertion removed)."
    assert result.evidence["findings"] == [
        {
            "path": "tests/test_price.py",
            "line": 1,
            "kind": "assertion removed",
            "sentence": "test_price has 0 assertions that can fail instead of 1, besides ones that always hold.",
        }
    ]


async def test_of_many_findings_the_first_are_named_and_the_rest_counted(change):
    files = {f"shop/part{number}.py": "import os  # noqa\n" for number in range(1, 6)}
    result = await ask(change(files))
    assert "5 findings (shop/part1.py:1 check silenced; " in result.sentence
    assert result.sentence.endswith("shop/part3.py:1 check silenced; and 2 more).")
    assert len(result.evidence["findings"]) == 5


async def test_the_evidence_is_bounded(change):
    result = await ask(change({"shop/part.py": "import os  # noqa\n" * 300}))
    assert "300 findings" in result.sentence
    assert len(result.evidence["findings"]) == 100


async def test_an_acceptance_of_this_head_is_green_and_names_the_person(change):
    look = change({"tests/test_price.py": None})
    result = await ask(replace(look, decisions=(word(Choice.APPROVE, look.head, "The feature is gone."),)))
    assert (result.answer, result.commit) == (Answer.PASS, look.head)
    assert result.sentence.startswith(f"Ann accepted at {look.head[:12]}: 1 finding")
    assert result.evidence["text"] == "The feature is gone."


async def test_a_rejection_is_red_with_the_persons_words_and_the_findings(change):
    look = change({"tests/test_price.py": None})
    result = await ask(replace(look, decisions=(word(Choice.REJECT, look.head, "Repair the test."),)))
    assert result.answer is Answer.FAIL
    assert "Ann rejected" in result.sentence
    assert "Repair the test." in result.sentence
    assert "tests/test_price.py:1 test file removed" in result.sentence
    assert result.evidence["text"] == "Repair the test."
    assert len(result.evidence["findings"]) == 1


async def test_the_last_word_counts(change):
    look = change({"tests/test_price.py": None})
    words = (word(Choice.REJECT, look.head), word(Choice.APPROVE, look.head))
    assert (await ask(replace(look, decisions=words))).answer is Answer.PASS
    assert (await ask(replace(look, decisions=words[::-1]))).answer is Answer.FAIL


async def test_a_word_about_another_head_or_another_question_does_not_count(change):
    look = change({"tests/test_price.py": None})
    words = (
        word(Choice.APPROVE, "f" * 40),
        word(Choice.APPROVE, look.head, kind=WaitKind.APPROVAL),
        word(Choice.CONFIRM, look.head, kind=WaitKind.CONFIRMATION),
        word(Choice.ANSWER, look.head),
    )
    assert (await ask(replace(look, decisions=words))).answer is Answer.PENDING


async def test_artifacts_of_the_item_are_no_findings(change):
    look = change({"docs/work-items/WID-12/CLAUDE.md": "Hello.\n"})
    assert (await ask(look)).answer is Answer.PASS


async def test_the_projects_own_globs_are_guarded(change):
    look = change({"deploy/stack.yml": "replicas: 1\n"})
    assert (await ask(look)).answer is Answer.PASS
    guarded = look.project.model_copy(update={"integrity_files": ("deploy/**",)})
    result = await ask(replace(look, project=guarded))
    assert "deploy/stack.yml:1 guarded file changed" in result.sentence


async def test_a_change_that_cannot_be_read_is_no_verdict(change, monkeypatch):
    look = change({"shop/price.py": "PRICE = 1\n"})
    monkeypatch.setattr(look.workspace, "diff", lambda commit: "fatal: out of memory")
    with pytest.raises(CouldNotRun, match="Run the stage again"):
        await ask(look)
