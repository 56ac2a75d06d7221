"""What `/queue` tells besides the items: stops, labels and limits."""

import os
from typing import Any

import httpx
import pytest

from deployments.receiver import queue_view
from pipeline.clients.process import identity
from pipeline.model import Choice, Decision, WaitKind
from pipeline.outcomes import Ask
from pipeline.stages import Stage
from pipeline.store import journal, leases, queue, reactions, waits
from pipeline.store.leases import Lease
from tasks import labels
from tests.pipeline.store.helpers import claimed
from tests.support.services import Desk


async def test_what_is_being_stopped_and_what_its_stop_waits_for(door: httpx.AsyncClient, desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated="a" * 40)
    lease = claimed(desk.store, item, run="run-7", now=desk.clock.now)
    assert isinstance(lease, Lease)
    desk.store.write(journal.start, item, "land", lease, subject="a" * 40, now=desk.clock.now)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    told = (await door.get("/queue")).json()["stop"]
    assert told["enabled"] is True
    [stopping] = told["items"]
    assert (stopping["key"], stopping["since"]) == (item.key, desk.clock.now.isoformat())
    assert stopping["waits_for"] == "Its stop. What was begun has to end first: land."


async def test_the_labels_that_decide_and_what_they_have_decided(door: httpx.AsyncClient, desk: Desk) -> None:
    item, ended = desk.item(), desk.item()
    for one in (item, ended):
        desk.store.write(labels._decide, desk.root, one, Ask(WaitKind.APPROVAL, "Is it good?", "c" * 40), "autoApprove")
    by_a_person = Decision(WaitKind.APPROVAL, Choice.APPROVE, "d" * 40, "ada", "", desk.clock.now)
    desk.store.write(waits.decide, item, by_a_person)
    desk.move(ended, Stage.CANCELLED)
    told = (await door.get("/queue")).json()["auto_labels"]
    assert (told["enabled"], told["approve"], told["deploy"]) == (True, "autoApprove", "autoDeploy")
    assert told["projects"] == ["SHOP"]
    assert told["lifts"] == [
        {
            "key": item.key, "gate": "approval", "label": "autoApprove", "commit": "c" * 40,
            "at": desk.clock.now.isoformat(),
        }
    ]  # fmt: skip


async def test_many_who_ask_cost_no_more_than_one(
    door: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def looking(*about: Any) -> dict[str, Any]:
        looked.append(about)
        return {}

    monkeypatch.setattr(queue_view, "queue_view", looking)
    for _ in range(5):
        assert (await door.get("/queue")).json() == {}
    assert len(looked) == 1


async def test_the_limits_and_who_merges_as_the_store_tells(
    door: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_view, "FRESH_S", 0)
    merging, next_one = desk.item(Stage.DEPLOY_STAGING), desk.item(Stage.DEPLOY_STAGING)
    for item in (merging, next_one):
        desk.store.write(queue.take, item, desk.clock.now)
    process = identity(os.getpid())
    nobody = (await door.get("/queue")).json()["limits"]
    assert nobody["merge"] == {"SHOP": {"limit": "merge-SHOP", "slots": 1, "holder": None}}
    assert (nobody["max_concurrency"], nobody["control_concurrency"]) == (2, 4)
    for item in (next_one, merging):
        desk.store.write(
            leases.claim, item.id, flow_run_id=f"run-{item.id}", stage=item.stage, token=item.key, process=process,
            now=desk.clock.now, ttl=30, alive=lambda _: True,
        )  # fmt: skip
    holder = (await door.get("/queue")).json()["limits"]["merge"]["SHOP"]["holder"]
    assert holder == {"item": merging.key, "run": f"run-{merging.id}", "since": desk.clock.now.isoformat()}
