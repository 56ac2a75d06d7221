"""Asking gates: each a retried task whose answer is stored with its sentence, whatever it is."""

from functools import partial

from prefect import task

from pipeline.gates import GATES
from pipeline.gates.look import Look
from pipeline.model import GateResult, MergeAttempt, WorkItem
from pipeline.projects import Project
from pipeline.store import evidence, waits
from tasks import reasons
from tasks.branch import tested
from tasks.services import Services
from tasks.stands import ItemStands
from tasks.steps import CHECK, subject


@task(name="gate", task_run_name="gate {gate}", **CHECK)
async def ask(key: str, gate: str, run_id: str, merge: MergeAttempt | None = None) -> GateResult:
    """One gate's answer about the item as it stands. Raises `CouldNotRun` when the check itself could not be made."""
    root, item, project = await subject(key)
    result = await answer(root, item, project, gate, merge)
    await root.store.awrite(
        evidence.gate_answered, item_key=key, item=item, gate=gate, result=result, run=run_id, now=root.now()
    )
    return result


async def answer(
    root: Services, item: WorkItem, project: Project, gate: str, merge: MergeAttempt | None, *, description: str = ""
) -> GateResult:
    """Ask a gate without recording its answer."""
    look = Look(
        item=item,
        project=project,
        tip=item.tip or "",
        head=item.head or "",
        workspace=root.workspace(project),
        forge=root.forge,
        decisions=await reasons.given(root, project, item, await root.store.aread(waits.decisions, item.id)),
        stands=ItemStands(root, item, project),
        test=partial(tested, root, item, project, purpose=gate),
        merge=merge,
        description=description,
        min_description_chars=root.settings.min_description_chars,
        freshness=root.settings.looks_at_freshness(project.repository),
    )
    return await GATES[gate].ask(look)
