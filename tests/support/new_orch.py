"""What deploying Orch by Orch does on a test's machine: ends the Orch that asked for it, and starts another.

`python new_orch.py PLAN COMMAND...`: a deploy hook of its own. PLAN is JSON: `pids` names the file with the process
groups of the running Orch, `environment` and `start` are how the new one's processes are started, `counts` is a file
that grows by a line a run.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def main(plan_file: str, command: list[str]) -> int:
    """Replace Orch, then carry out the deploy itself; its exit code."""
    plan = json.loads(Path(plan_file).read_text())
    pids = Path(plan["pids"])
    with Path(plan["counts"]).open("a") as counts:
        counts.write(f"{os.environ['ORCH_EXPECTED_REVISION']}\n")
    for pid in json.loads(pids.read_text()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    started = []
    for number, words in enumerate(plan["start"]):
        with Path(plan["logs"], f"new-{number}-{os.getpid()}.log").open("ab") as log:
            process = subprocess.Popen(
                words, env=plan["environment"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        started.append(process.pid)
    pids.write_text(json.dumps(started))
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
