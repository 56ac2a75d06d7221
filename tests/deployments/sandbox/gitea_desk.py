"""What the Gitea contract tests share: a sandbox like the recorded Gitea 1.21, and the comparison with it."""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from tests.deployments.sandbox.receiver import Received, Receiver
from tests.deployments.sandbox.shapes import differences, recorded

SECRET = "hook-secret-1"
REPO = "/repos/acme/shop"


@dataclass
class Desk:
    """One sandbox for the whole file, emulating the Gitea that was recorded, and one pull request to talk about."""

    sandbox: SandboxClient
    receiver: Receiver
    bot: httpx.Client
    ada: httpx.Client

    def told(self, event_type: str, seen: Callable[[dict[str, Any]], object] = lambda _: True) -> Received:
        return self.receiver.wait(lambda one: one.header("X-Gitea-Event-Type") == event_type and seen(one.body))

    def pull(self, name: str, files: dict[str, str | None], title: str = "A change") -> tuple[int, str]:
        head = self.sandbox.commit(name, files)
        answer = self.bot.post(f"{REPO}/pulls", json={"head": name, "base": "main", "title": title, "body": "b"})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["number"]), head


@contextmanager
def opened_desk(root: Path) -> Iterator[Desk]:
    receiver = Receiver()
    options = Options(gitea_version="1.21.11")
    with (
        running_sandbox(root / "sandbox", options=options) as sandbox,
        sandbox.gitea_api(options.gitea_bot_token) as bot,
        sandbox.gitea_api() as ada,
    ):
        sandbox.ci("off")
        sandbox.gitea_webhook(receiver.url, SECRET)
        desk = Desk(sandbox, receiver, bot, ada)
        desk.pull("feature/one", {"src/one.py": "print(1)\n"}, "First pull")
        yield desk
    receiver.close()


def assert_as_recorded(answer: httpx.Response, name: str) -> Any:
    recording = recorded("gitea", name)
    assert answer.status_code == recording["status"]
    for header, value in recording["headers"].items():
        got = answer.headers[header]
        assert got.isdigit() if header == "X-Total-Count" else got.replace(" ", "") == value.replace(" ", "")
    if recording["json"] is None:
        assert answer.text == recording["text"]
    else:
        assert differences(recording["json"], answer.json()) == []
    return recording["json"]


def assert_told_as_recorded(received: Received, name: str) -> None:
    recording = recorded("gitea", name)
    assert differences(recording["body"], received.body) == []
    sent: dict[str, str] = recording["headers"]
    # Go asks for gzip and httpx for more; Accept and Connection are httpx's own.
    ours = {key.lower() for key in received.headers} - {"accept", "connection"}
    assert {key.lower() for key in sent} == ours
    for header in sent:
        if "-event" in header.lower():
            assert received.header(header) == sent[header]
    signature = hmac.new(SECRET.encode(), received.raw, hashlib.sha256).hexdigest()
    assert received.header("X-Gitea-Signature") == signature
    assert received.header("X-Hub-Signature-256") == f"sha256={signature}"
