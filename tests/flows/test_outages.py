"""Neighbours that are down, slow, failing or talking garbage for minutes: all goes on by itself once they are back.

`ORCH_OUTAGE_S` is how long an outage lasts, a minute unless told otherwise.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, select

from deployments import operator
from deployments.prefect_server import PrefectServer
from pipeline.model import WaitKind
from pipeline.signals import Signal
from pipeline.store.outbox import Kind
from pipeline.store.tables import OutboxRow
from tests.support.gateway import Gateway
from tests.support.product import Product, running_product
from tests.support.shop_items import done_once, waiting

OUTAGE_S = float(os.environ.get("ORCH_OUTAGE_S") or 60)
MANY = 100_000
PEERS = ("plane", "gitea", "telegram")
TOPICS = 3
"""What people are told about an item in calm: it is to be approved, to be confirmed, and done."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(900 + 2 * OUTAGE_S)]


def down(_product: Product, gateway: Gateway) -> None:
    """Nothing listens where they were."""
    gateway.down()


def slow(product: Product, _gateway: Gateway) -> None:
    """Everything is done, half a minute late."""
    for peer in PEERS:
        product.sandbox.delay(peer, 30)  # type: ignore[arg-type]


def failing(product: Product, _gateway: Gateway) -> None:
    """Every request is answered with 500."""
    for peer in PEERS:
        product.sandbox.fail_next(peer, MANY, status=500)  # type: ignore[arg-type]


def garbage(product: Product, _gateway: Gateway) -> None:
    """Every request is answered with a proxy's page and 200."""
    for peer in PEERS:
        product.sandbox.fail_next(peer, MANY, status=200, body="<html>Bad Gateway</html>")  # type: ignore[arg-type]


OUTAGES: tuple[Callable[[Product, Gateway], None], ...] = (down, slow, failing, garbage)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        yield made


@pytest.fixture
def product(tmp_path: Path, prefect_server: PrefectServer, gateway: Gateway) -> Iterator[Product]:
    """The whole product, which reaches its neighbours by way of the gateway."""
    with running_product(
        tmp_path / "p", prefect_server, projects=("PA", "PB", "PC"), through=gateway.through
    ) as running:
        yield running


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda one: one.__name__)
def test_items_end_done_once_and_people_are_told_once(
    product: Product, gateway: Gateway, outage: Callable[[Product, Gateway], None]
) -> None:
    confirmed = product.start_item(project="PA")
    commit = decided_up_to(product, confirmed, WaitKind.CONFIRMATION)
    approved, begun = (
        product.start_item(project="PB"),
        product.sandbox.create_card("A cup", "For tea, " * 8, project="PC"),
    )
    waiting(product, approved, WaitKind.APPROVAL)
    keys = {confirmed: "PA", approved: "PB", begun: "PC"}

    product.sandbox.move_card(begun, "To Analyse")
    product.sandbox.move_card(approved, "Approved")
    outage(product, gateway)
    operator.signal(product.settings, confirmed, Signal.DEPLOY_CONFIRMED, "", "ada")
    time.sleep(OUTAGE_S)
    product.sandbox.clear_faults()
    gateway.down()
    gateway.up()

    ended = time.monotonic()
    product.decide_for_all(list(keys), within_s=600)
    sys.stdout.write(f"{outage.__name__}: all done {time.monotonic() - ended:.0f} s after {OUTAGE_S:g} s\n")
    for key, project in keys.items():
        done_once(product, key, project)
    item = product.item(confirmed)
    assert item is not None
    assert item.landed == commit
    told_once(product, keys)


def decided_up_to(product: Product, key: str, kind: WaitKind) -> str:
    """Play the person until the item waits for this decision; the commit that it is about."""
    waiting(product, key, WaitKind.APPROVAL)
    product.until(lambda: product.sandbox.card(key).state == "In Review", what="the card in review")
    product.sandbox.move_card(key, "Approved")
    return waiting(product, key, kind).commit or ""


def told_once(product: Product, keys: Collection[str]) -> None:
    """No message came twice or more, and none that is not said in calm but that a run has died."""
    letters = product.read(_messages)
    topics = Counter(letter.item_key for letter in letters if not (letter.dedupe or "").startswith("message:recovered"))
    assert {key: count for key, count in topics.items() if count > TOPICS} == {}
    product.until(lambda: not [one for one in product.read(_messages) if one.sent_at is None], what="all sent")
    messages = product.sandbox.state().telegram.messages
    sent = Counter(message.text for message in messages if not message.silent)
    assert [text for text, count in sent.items() if count > 1] == []
    assert len([message for message in messages if message.silent and not message.deleted]) == len(keys)


def _messages(session: Session) -> list[OutboxRow]:
    return list(session.exec(select(OutboxRow).where(OutboxRow.kind == Kind.MESSAGE)).all())
