"""What an agent stage does before its gates: the branch made ready, the agent's work once a visit, the push."""

from flows import agent_page
from flows.run import Run
from pipeline import outcomes
from pipeline.errors import StaleWrite
from pipeline.model import AgentEnd, Found, WaitKind
from pipeline.outcomes import Ask, Outcome, RollBack
from pipeline.stages import Stage
from pipeline.store import evidence
from tasks import agents, branch


async def agent_work(run: Run) -> Run | Outcome:
    """Let the role's agent work unless it has for this visit, and publish what it made.

    A failed agent goes back to the same stage and costs an attempt; a question, or a used-up budget, goes to a person.
    """
    key, token = run.item.key, run.lease.token
    await agents.clean_up(key)
    if (found := await branch.prepare(key, token)) is not None:
        return judged_anew(found)
    budget = await agents.asks_for_budget(key)
    if budget is not None:
        return budget
    known = await run.root.store.aread(evidence.agent_run_of_visit, run.item, run.row.role)
    done = await agents.work(key, run.run_id)
    if done != known:
        await agent_page.show(run.item, done)
    if done.question:
        return Ask(WaitKind.ANSWER, done.question, run.item.tip or "start")
    if done.end is not AgentEnd.FINISHED:
        return outcomes.roll_back(
            run.item, run.item.stage, f"The {done.role} {done.end}: {done.sentence}", cap=run.root.caps
        )
    try:
        await branch.publish(key, token, f"{key}: {run.item.stage}")
    except StaleWrite as error:  # the agent's work does not stand on what is there now: it works once more
        return RollBack(run.item.stage, None, str(error), feedback=run.item.feedback)
    return run


def judged_anew(found: Found) -> RollBack:
    """Somebody else's commits are judged before they go any further; nobody's attempt is spent on them."""
    return RollBack(Stage.REVIEW, None, "Somebody pushed to the task branch, so earlier verdicts are void.", "", found)
