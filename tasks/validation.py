"""Judging a branch for landing: what was tested is what will land, and nothing else."""

import asyncio
from typing import Any

from prefect import task

from pipeline.errors import CouldNotRun
from pipeline.gates.tests_passed import GATE as TESTS_PASSED
from pipeline.model import Conflict, MergeAttempt, MergeEnd, TestRun
from pipeline.projects import Project
from pipeline.store import evidence, items
from tasks.branch import tested
from tasks.steps import STEP, subject


@task(name="look for an earlier validation", **STEP)
async def still_valid(key: str, base: str) -> MergeAttempt | None:
    """The validation of an earlier run, when neither branch has moved since."""
    root, item, project = await subject(key)
    remote = await asyncio.to_thread(root.workspace(project).remote_tip, item.branch)
    if item.validated is None or (item.validated, item.validated_base) != (remote, base):
        return None
    return MergeAttempt(
        MergeEnd.VALIDATED, f"{item.validated[:12]} was tested on {base[:12]} already.", base, item.validated
    )


@task(name="compare with the default branch", **STEP)
async def needs_rebase(key: str, base: str) -> bool:
    """Whether to rebase: always, unless the project's operator asked for it only when the branch is behind."""
    root, item, project = await subject(key)
    if root.settings.premerge_rebase_always:
        return True
    workspace = root.workspace(project)
    return not await asyncio.to_thread(workspace.is_ancestor, base, await asyncio.to_thread(workspace.tip, item.key))


@task(name="take the branch as it stands", **STEP)
async def tests_as_it_stands(key: str, base: str) -> TestRun:
    """Without the merge gate: the test run that testing went by, which counts for landing on `base`, too.

    Raises `CouldNotRun` where the branch is not on top of `base`: nothing is rebased here, so a person has to.
    """
    root, item, project = await subject(key)
    workspace = root.workspace(project)
    if item.tip is None or not await asyncio.to_thread(workspace.is_ancestor, base, item.tip):
        raise CouldNotRun(
            f"{project.default_branch} has moved on to {base[:12]}, which {item.branch} lacks, and nothing is rebased "
            f"while the merge gate of {project.repository} is off. Rebase the branch and push it, or switch the gate on "
            f"(ORCH_MERGE_GATE_ENABLED, ORCH_MERGE_GATE_REPOS), then `orch retry {key}`."
        )
    purpose = f"{evidence.MERGE_PURPOSE}{base[:12]}"
    known = await root.store.aread(evidence.tests_of, item.id, item.tip, purpose, since=item.entered_at)
    if known is not None:
        return known
    run = await tested(root, item, project, item.tip, TESTS_PASSED.name)
    await root.store.awrite(evidence.tests_ran, item.id, purpose, run, root.now())
    return run


def conflict(project: Project, found: Conflict) -> MergeAttempt:
    """The branch cannot be put on the default branch."""
    files = ", ".join(found.files)
    sentence = (
        f"Conflicts with {project.default_branch} ({found.base[:12]}) in {files}. Rebase onto it and resolve them."
    )
    return MergeAttempt(MergeEnd.CONFLICT, sentence, found.base, files=found.files)


@task(name="judge the combined tree", **STEP)
async def judge(key: str, token: str, base: str, tests: TestRun) -> MergeAttempt:
    """Record what was validated; a confirmation survives when the change is the same as the confirmed one."""
    root, item, project = await subject(key)
    if not tests.passed:
        sentence = f"Red together with {project.default_branch} ({base[:12]}): {tests.sentence}"
        return MergeAttempt(MergeEnd.RED, sentence, base, tests.commit, tests=tests)
    changes: dict[str, Any] = {"validated": tests.commit, "validated_base": base, "confirmed": None}
    old = (item.validated_base, item.validated)
    if item.confirmed is not None and item.confirmed == item.validated and root.settings.confirm_survives_rebase:
        before, after = (str(old[0]), str(old[1])), (base, tests.commit)
        if await asyncio.to_thread(root.workspace(project).same_change, before, after):
            changes["confirmed"] = tests.commit
    await root.store.awrite(items.update, item, token, root.now(), **changes)
    sentence = f"{tests.commit[:12]} on top of {base[:12]}: {tests.sentence}"
    return MergeAttempt(MergeEnd.VALIDATED, sentence, base, tests.commit, tests=tests)
