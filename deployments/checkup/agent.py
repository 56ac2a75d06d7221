"""Whether the coding agent's program is there and starts in the environment that agents get."""

import os
import tempfile
from pathlib import Path

from blocks import CodingAgent
from deployments.checkup.finding import Finding, fine, missing
from pipeline.clients import process
from pipeline.clients.agent import tail
from pipeline.clients.process import ProcessEnd, safe_environment
from pipeline.errors import CouldNotRun
from tasks.services import IDENTITY

PATIENCE_S = 20.0
"""How long a program may take to say its version."""

ABOUT = "Agent"


async def look_at_agent(agent: CodingAgent) -> list[Finding]:
    """The program's version, and the variables that are let through. No model is called.

    Of the command only the program is run, with `--version`: its other arguments could make it start working.
    """
    return [await _version(agent), *(_variable(name) for name in agent.pass_env)]


async def _version(agent: CodingAgent) -> Finding:
    program = agent.command[0]
    let_through = {name: os.environ[name] for name in agent.pass_env if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="orch-") as folder:
        home = Path(folder)
        log = home / "version.log"
        try:
            ended = await process.run(
                (program, "--version"),
                cwd=home,
                environment=safe_environment(home, {**IDENTITY, **let_through}),
                log=log,
                timeout_s=PATIENCE_S,
            )
        except CouldNotRun as error:
            return missing(ABOUT, str(error), "Install it, or correct ORCH_AGENT_COMMAND.")
        said = tail(log)
    if ended.reason is not ProcessEnd.FINISHED:
        return missing(ABOUT, f"{program} --version took over {PATIENCE_S:g} s.", "Try it by hand.")
    if ended.exit_code != 0:
        sentence = f"{program} --version ended with exit code {ended.exit_code}: {said or 'it said nothing'}"
        return missing(ABOUT, sentence, "Try it by hand, as Orch's user and with an empty home.")
    return fine(ABOUT, f"{program} answers: {said}" if said else f"{program} starts.")


def _variable(name: str) -> Finding:
    if os.environ.get(name):
        return fine(ABOUT, f"{name} is set and let through.")
    step = f"Export {name} where `orch up` is started (`.env` is searched for ORCH_ only), or take it out."
    return missing(ABOUT, f"{name} is to be let through to agents, but is not set.", step)
