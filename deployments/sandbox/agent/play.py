"""Plays one role on one visit: what is printed, written, committed, or refused."""

import hashlib
import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from deployments.sandbox.agent import documents, worktree
from deployments.sandbox.agent.scenario import ROLES, Behaviour, Item, ScenarioError

ANSWER_HEADING = "## The answer to your question"
"""The heading in a prompt that tells that a person has answered; the same as in `pipeline.prompts`."""

CRASHED = 3

_RED_TEST = """\
import unittest


class RedOnPurposeTest(unittest.TestCase):
    def test_this_fails_on_purpose(self) -> None:
        self.fail("The scripted developer left this test red on purpose.")
"""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the environment says about this run."""

    role: str
    work_item: str
    title: str
    visit: int
    head: str
    base: str
    artifacts: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Situation":
        """Read the variables `ORCH_*`. Raises `ScenarioError` that names the one that is missing or wrong."""
        try:
            situation = cls(
                role=environment["ORCH_ROLE"],
                work_item=environment["ORCH_WORK_ITEM"],
                title=environment["ORCH_TITLE"],
                visit=int(environment["ORCH_VISIT"]),
                head=environment["ORCH_HEAD"],
                base=environment["ORCH_BASE"],
                artifacts=environment["ORCH_ARTIFACTS"],
            )
        except KeyError as error:
            raise ScenarioError(f"The environment variable {error.args[0]} is missing.") from error
        except ValueError as error:
            raise ScenarioError(f"ORCH_VISIT is not a number: {error}.") from error
        if situation.role not in ROLES:
            raise ScenarioError(f"ORCH_ROLE is {situation.role!r}; the script knows {', '.join(ROLES)}.")
        return situation


def play(item: Item, here: Situation, prompt: str) -> int:
    """Play the role and return the exit code. Hangs for ever where the script says so."""
    behaviour = item.behaviour(here.role, here.visit)
    does = behaviour.does
    if does == "question" and ANSWER_HEADING in prompt.splitlines():
        does = "ok"
    if does != "silent":
        _say(f"{here.role} of {here.work_item}, visit {here.visit}: {here.title}")
    time.sleep(behaviour.seconds)
    if does in ("hang", "hang_hard"):
        _hang(hard=does == "hang_hard")
    if does == "question":
        _result(here, question=behaviour.question)
        return 0
    if does == "noise":
        _noise()
    return _work(item, here, behaviour, does)


def _work(item: Item, here: Situation, behaviour: Behaviour, does: str) -> int:
    if does != "missing_files":
        commits = does not in ("crash", "uncommitted")
        if here.role == "developer":
            _develop(item, here, behaviour, does, commits)
        else:
            _document(here, does, commits)
    if does == "crash":
        sys.stderr.write("RuntimeError: the scripted agent crashes on purpose, with its work half done\n")
        return CRASHED
    if does != "silent":
        _say("done")
        _result(here)
    return 0


def _develop(item: Item, here: Situation, behaviour: Behaviour, does: str, commits: bool) -> None:
    if commits and worktree.rebase(here.base, item.resolution) and does != "silent":
        _say(f"rebased onto {here.base}")
    red_test = f"tests/test_red_on_purpose_{here.work_item.lower().replace('-', '_')}.py"
    worktree.remove(red_test)
    for change in item.changes_up_to(behaviour.change):
        message = f"{here.work_item}: {change.name}"
        if worktree.committed(message, here.base):
            continue
        worktree.make(change, item.resolution)
        if commits:
            worktree.commit(message)
    if does == "red_test":
        worktree.write(red_test, _RED_TEST)
    if commits:
        worktree.commit(f"{here.work_item}: {'a test that is red' if does == 'red_test' else 'tidy up'}")


def _document(here: Situation, does: str, commits: bool) -> None:
    about = documents.Subject(here.work_item, here.title, here.visit, here.head)
    for name, text in documents.of_role(here.role, does, about).items():
        worktree.write(f"{here.artifacts}/{name}", text)
    if commits:
        worktree.commit(f"{here.work_item}: {here.role}'s documents")


# --- output -----------------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    _line({"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}})


def _result(here: Situation, question: str = "") -> None:
    """The last line: what Claude Code's stream-json ends with, with numbers that depend on nothing but the run."""
    seed = hashlib.sha256(f"{here.work_item} {here.role} {here.visit}".encode()).digest()
    usage = {
        "input_tokens": 1_000 + seed[0] * 10,
        "cache_creation_input_tokens": 5_000 + seed[1] * 20,
        "cache_read_input_tokens": 40_000 + seed[2] * 100,
        "output_tokens": 800 + seed[3] * 10,
    }
    fields: dict[str, object] = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "num_turns": 3 + seed[4] % 10,
        "result": question or "Done.",
        "session_id": seed.hex()[:32],
        "total_cost_usd": round(0.05 + seed[5] / 1_000, 4),
        "usage": usage,
    }
    _line(fields | ({"question": question} if question else {}))


def _line(fields: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _noise() -> None:
    """What a reader of logs must survive: half lines of JSON, other programs' results, other encodings, long lines."""
    out = sys.stdout.buffer
    out.write(b'{"type": "result", "is_error": true, "question": "Who wrote this?", "usage": "none"}\n')
    out.write(b'{"type": "result", "usage": {"input_tokens": "many"}, \n')
    out.write(b"\xff\xfe\x00\x80 not UTF-8 \x1b[31mred\x1b[0m\r\n")
    out.write(b'{"nested": ' + b"[" * 50_000 + b' "result"\n')
    out.write(b"x" * 1_000_000 + b"\n")
    out.writelines(b"line %d of the noise\n" % number for number in range(2_000))
    out.flush()


def _hang(*, hard: bool) -> NoReturn:
    if hard:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _say("hangs from here on")
    while True:
        time.sleep(3_600)
