"""Items of the sandbox's shop that have come to staging, and what people do and see from there on."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlmodel import Session, select

from deployments import operator
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.state import Deploy
from pipeline.branches import branch_name
from pipeline.model import Wait, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import WORKED, Stage
from pipeline.store import evidence, items, journal, outbox, waits
from pipeline.store.engine import Store
from pipeline.store.tables import SignalRow
from tests.support.product import DESCRIPTION, Product, repository_of

FILES = {
    "shop/{name}.py": "PRICE = 350\n\n\ndef {name}(count: int) -> int:\n    return count * PRICE\n",
    "tests/test_{name}.py": """
import unittest

from shop.{name} import {name}


class SoldTest(unittest.TestCase):
    def test_two_cost_twice_as_much(self) -> None:
        self.assertEqual({name}(2), 700)
""",
}
"""What the shop needs to sell another thing; no thing is in another's way."""


class Shop(Protocol):
    """Where items are put: a product, or a stand of the kill tests."""

    @property
    def sandbox(self) -> SandboxClient:
        """The neighbours."""

    @property
    def store(self) -> Store:
        """Orch's database."""


# --- what there is


def item_at(product: Shop, name: str, stage: Stage) -> str:
    """An item that sells another thing and has come to `stage`, with its branch and pull request; its key."""
    sandbox, title = product.sandbox, f"Sell {name}"
    key = sandbox.create_card(title, DESCRIPTION)
    branch = branch_name(key, title)
    files = {path.format(name=name): text.format(name=name) for path, text in FILES.items()}
    tip = sandbox.commit(branch, files, title, who="api")
    with sandbox.gitea_api(sandbox.options.gitea_bot_token) as gitea:
        pull = gitea.post("/repos/acme/shop/pulls", json={"title": title, "head": branch, "base": "main"})
        number = pull.raise_for_status().json()["number"]
    new = items.NewItem(key, "SHOP", sandbox.card(key).id, title, branch)
    product.store.write(_come_to, new, stage, {"tip": tip, "head": tip, "pull_number": number})
    return key


def _come_to(session: Session, new: items.NewItem, stage: Stage, columns: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    said: dict[str, Any] = {"actor": "ada", "reason": "worked", "run": None, "now": now}
    item, _first = items.create(session, new, **said)
    for there in WORKED[1 : WORKED.index(stage) + 1]:
        item = items.move(session, item, there, token=None, **said)
    items.update(session, item, None, now, **columns)


def come_to_staging(product: Product, *names: str) -> list[str]:
    """Items that have just come to staging."""
    keys = [item_at(product, name, Stage.DEPLOY_STAGING) for name in names]
    for key in keys:
        product.store.write(outbox.enter, key, Stage.DEPLOY_STAGING, datetime.now(UTC))
    return keys


def asked_to_confirm(product: Product, *names: str) -> list[str]:
    """Items that have come to where a person has to confirm their deploy."""
    keys = come_to_staging(product, *names)
    for key in keys:
        waiting(product, key, WaitKind.CONFIRMATION)
    return keys


# --- what people do


def confirm(product: Product, key: str) -> None:
    product.sandbox.move_card(key, "Confirm Deploy")


def retry(product: Product, key: str) -> None:
    operator.retry(product.settings, key, "ada")


def merge(product: Product, key: str) -> None:
    """The person merges the item's pull request in Gitea, and Orch has heard of it."""
    with product.sandbox.gitea_api() as gitea:
        number = the(product, key).pull_number
        gitea.post(f"/repos/acme/shop/pulls/{number}/merge", json={"Do": "merge"}).raise_for_status()
    heard(product, key, Signal.PR_MERGED)


# --- what can be seen


def the(product: Product, key: str) -> WorkItem:
    item = product.item(key)
    assert item is not None
    return item


def waiting(product: Product, key: str, kind: WaitKind) -> Wait:
    wait: Wait = product.until(
        lambda: (w := product.wait(key)) and w.kind is kind and w, what=f"{key} waits for {kind}"
    )
    return wait


def held(product: Product, key: str) -> WorkItem:
    item: WorkItem = product.until(lambda: (i := product.item(key)) and i.hold and i, what=f"{key} held", within_s=90)
    return item


def verified(product: Product, key: str) -> WorkItem:
    """The item, whose deploy was verified and which is watched now, or was."""
    item: WorkItem = product.until(
        lambda: (i := product.item(key)) and (i.deployed or i.hold) and i, what=f"{key} deployed", within_s=90
    )
    assert item.hold is None, item.hold_reason
    return item


def done(product: Product, key: str) -> WorkItem:
    item: WorkItem = product.until(
        lambda: (i := product.item(key)) and i.stage is Stage.DONE and i, what=f"{key} done", within_s=90
    )
    return item


def nothing_is_watched(product: Product) -> None:
    """What production does from here on is nobody else's."""
    product.until(lambda: not product.read(_watched), what="all windows over", within_s=90)


def _watched(session: Session) -> list[WorkItem]:
    return [item for item in items.live(session) if item.deployed is not None]


def heard(product: Product, key: str, signal: Signal) -> None:
    """The signal has come and was applied."""

    def consumed(session: Session) -> bool:
        rows = session.exec(select(SignalRow).where(SignalRow.item_key == key, SignalRow.signal == signal)).all()
        return bool(rows) and all(row.consumed_at for row in rows)

    product.until(lambda: product.read(consumed), what=f"{signal} of {key}")


def deploys(product: Product, key: str) -> list[Deploy]:
    return [one for one in product.sandbox.stand("production").deploys if one.work_item == key]


def confirmations(product: Product, item: WorkItem) -> list[str]:
    found = product.read(lambda s: waits.decisions(s, item.id))
    return [decision.commit for decision in found if decision.kind is WaitKind.CONFIRMATION]


def in_production(product: Product, item: WorkItem) -> None:
    """What was tested is what landed, was deployed once, and serves now."""
    tested = product.read(lambda s: evidence.tested_for_landing(s, item.id))
    production = product.sandbox.stand("production").revision
    assert {tested, item.validated, item.landed, item.deployed, production} == {item.landed}
    assert [(one.hook, one.revision) for one in deploys(product, item.key)] == [("deploy", item.landed)]


def said(product: Product, key: str, words: str) -> list[str]:
    """Messages about the item with these words."""
    messages = product.sandbox.state().telegram.messages
    return [message.text for message in messages if key in message.text and words in message.text]


def done_once(product: Product, key: str, project: str) -> None:
    """Landed as tested, by one landing, with one pull request, and nothing written twice."""
    item, repository = product.item(key), product.sandbox.repository(repository_of(project))
    assert item is not None
    assert item.stage is Stage.DONE
    assert repository.main == item.landed == product.read(lambda s: evidence.tested_for_landing(s, item.id))
    assert repository.main_tips.count(item.landed) == 1
    assert [(e.name, e.open) for e in product.read(lambda s: journal.of_item(s, item.id))] == [("land", False)]
    assert len(repository.pulls) == 1
    product.until(lambda: product.sandbox.card(key).state == "Done", what="the card in Done")
    written = Counter(c.external_id for c in product.sandbox.card(key).comments if c.external_id)
    assert [one for one, count in written.items() if count > 1] == []
