"""What an agent stage does before its gates: the branch made ready, the agent's work once a visit, the push."""

from flows.stage import Run
from pipeline import decide
from pipeline.decide import Ask, Outcome
from pipeline.model import AgentEnd, WaitKind
from tasks import agents, branch


async def agent_work(run: Run) -> Run | Outcome:
    """Let the role's agent work unless it has for this visit, and publish what it made.

    A failed agent goes back to the same stage and costs an attempt; a question goes to a person.
    """
    key, token = run.item.key, run.lease.token
    await branch.prepare(key, token)
    await agents.clean_up(key)
    done = await agents.work(key, run.run_id)
    if done.question:
        return Ask(WaitKind.ANSWER, done.question, run.item.tip or "start")
    if done.end is not AgentEnd.FINISHED:
        return decide.roll_back(
            run.item, run.item.stage, f"The {done.role} {done.end}: {done.sentence}", cap=run.root.caps
        )
    await branch.publish(key, token, f"{key}: {run.item.stage}")
    return run
