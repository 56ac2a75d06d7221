"""The artifacts that the scripted roles write, as texts by path below the item's artifact folder."""

from dataclasses import dataclass

GARBAGE = "---\nverdict: approved\nverdict: [passed\n  commit {{\n---\n\nThis front matter is broken on purpose.\n"
NO_COMMIT = "0" * 40


@dataclass(frozen=True, slots=True)
class Subject:
    """What a document is about. The visit is written into it, so that every visit leaves a commit."""

    work_item: str
    title: str
    visit: int
    head: str


def of_role(role: str, does: str, about: Subject) -> dict[str, str]:
    """What `role` writes when it behaves as `does`; a developer writes no artifact."""
    match role:
        case "analyst":
            return _analysis(about)
        case "architect":
            return {"06-adr/0001-approach.md": GARBAGE if does == "garbage_front_matter" else _decision(about)}
        case "reviewer":
            words = ("request_changes", "Name the case that is missing and test it.")
            good = ("approved", "The change does what was asked for, and its tests show it.")
            return {"10-review.md": _judgement(does, about, words if does == "request_changes" else good)}
        case "tester":
            words = ("failed", "The second acceptance criterion is not met.")
            good = ("passed", "Every acceptance criterion was tried and holds.")
            return {"11-test-report.md": _judgement(does, about, words if does == "fail_report" else good)}
        case _:
            return {}


def _analysis(about: Subject) -> dict[str, str]:
    heading = f"{about.work_item}: {about.title}\n\nVersion {about.visit}.\n"
    return {
        "01-brd.md": f"# What is needed for {heading}\nThe shop needs this change. Nothing else is in scope.\n",
        "02-acceptance.md": f"# Acceptance of {heading}\n1. The new behaviour is there.\n2. All else is as it was.\n",
        "03-test-plan.md": f"# Test plan of {heading}\n1. A unit test for each criterion.\n2. The existing tests.\n",
    }


def _decision(about: Subject) -> str:
    return (
        "---\nstatus: accepted\ndecision: Add a small function with a test of its own.\n---\n\n"
        f"# How {about.work_item} is built\n\nVersion {about.visit}. Alternatives would have touched more files.\n"
    )


def _judgement(does: str, about: Subject, words: tuple[str, str]) -> str:
    if does == "garbage_front_matter":
        return GARBAGE
    verdict, reason = words
    commit = NO_COMMIT if does == "wrong_commit" else about.head
    return f"---\nverdict: {verdict}\ncommit: {commit}\n---\n\n{reason}\n\nVisit {about.visit}.\n"
