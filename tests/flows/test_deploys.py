"""Staging and production at work: what lands is what was tested, staged, confirmed, deployed and verified."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from deployments import operator
from deployments.prefect_server import PrefectServer
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from deployments.sandbox.state import Deploy
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import evidence, waits
from pipeline.store.tables import SignalRow
from tests.support.product import Product, registry_of, running_product

CHANGES = ("bags", "cards", "dolls", "eggs", "forks", "globes", "hats", "inks", "jars", "kites")
"""Each item sells another thing, so that none is in another's way."""

ITEM = '''
[[items]]
title = "{name}"

[items.changes.{name}.files]
"shop/{name}.py" = "PRICE = 350\\n\\n\\ndef {name}(count: int) -> int:\\n    return count * PRICE\\n"
"tests/test_{name}.py" = """
import unittest

from shop.{name} import {name}


class SoldTest(unittest.TestCase):
    def test_two_cost_twice_as_much(self) -> None:
        self.assertEqual({name}(2), 700)
"""
'''

WATCHED = {
    "monitor_window_s": 5,
    "monitor_interval_s": 1,
    "monitor_failures": 2,
    "verify_within_s": 3,
    "revert_when_degraded": True,
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    """A product that stages, deploys, watches and reverts; its staging check is a file that tests take away."""
    folder = tmp_path_factory.mktemp("deploys")
    scenario = folder / "things.toml"
    scenario.write_text("".join(ITEM.format(name=name) for name in CHANGES))

    def registry(sandbox: SandboxClient) -> str:
        stands: dict[str, Any] = stand_settings(sandbox.url)
        check_file(folder).write_text(f"#!/bin/sh\nexec {shlex.join(stands['staging_check'])}\n")
        check_file(folder).chmod(0o755)
        return registry_of(sandbox, ("SHOP",), **{**stands, **WATCHED, "staging_check": [str(check_file(folder))]})

    with running_product(folder / "p", prefect_server, scenario=scenario, registry=registry) as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(product: Product) -> Iterator[None]:
    """Every test leaves the stands and the CI as they should be."""
    yield
    product.sandbox.clear_faults()
    product.sandbox.ci("run")


def check_file(folder: Path) -> Path:
    return folder / "staging-check"


# --- what people do


def sell(product: Product, *names: str) -> list[str]:
    """Write a card for each thing and start it."""
    return [product.start_item(f"Sell {name}") for name in names]


def asked_to_confirm(product: Product, *names: str) -> list[str]:
    """Items that have come to where a person has to confirm their deploy."""
    keys = sell(product, *names)
    product.decide_for_all(keys, within_s=120, until=Stage.DEPLOY)
    for key in keys:
        waiting(product, key, WaitKind.CONFIRMATION)
    return keys


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


def done(product: Product, key: str) -> WorkItem:
    item: WorkItem = product.until(
        lambda: (i := product.item(key)) and (i.stage is Stage.DONE or i.hold) and i, what=f"{key} done", within_s=90
    )
    assert item.hold is None, item.hold_reason
    return item


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


# --- the default branch moves


def test_a_confirmed_item_under_which_main_moved_is_validated_anew_and_lands_without_being_asked_again(
    product: Product,
) -> None:
    first, second = asked_to_confirm(product, "bags", "cards")
    before = the(product, first).validated
    confirm(product, second)
    in_production(product, done(product, second))
    assert waiting(product, first, WaitKind.CONFIRMATION).commit == before
    confirm(product, first)
    item = done(product, first)
    in_production(product, item)
    assert product.sandbox.repository().main == item.landed != before
    assert product.moves(first)[-4:] == ["deploy", "deploy_staging", "deploy", "done"]
    assert confirmations(product, item) == [before]
    assert (item.attempts, len(deploys(product, second))) == ({}, 1)


def test_nothing_else_lands_while_a_deploy_is_under_way(product: Product) -> None:
    first, second = asked_to_confirm(product, "dolls", "eggs")
    product.sandbox.break_stand("production", "slow_hook", 1, seconds=120, hook="deploy")
    confirm(product, first)
    product.until(lambda: product.sandbox.stand("production").hooks_under_way, what="the deploy under way")
    landed = the(product, first).landed
    assert landed is not None
    confirm(product, second)
    wait = waiting(product, second, WaitKind.MERGE_TURN)
    assert wait.sentence == f"A deploy of {landed[:12]} is under way; nothing lands before it has ended."
    assert (product.sandbox.repository().main, the(product, second).landed) == (landed, None)
    product.sandbox.mend_stand("production")
    done(product, first)
    product.tick()
    in_production(product, done(product, second))
    assert len(deploys(product, first)) == 1


# --- production degrades


def test_a_change_that_degrades_production_is_rolled_back_and_reverted_and_calls_a_person_once(
    product: Product, tmp_path: Path
) -> None:
    [key] = asked_to_confirm(product, "forks")
    served, main = product.sandbox.stand("production").revision, product.sandbox.repository().main
    confirm(product, key)
    landed = product.until(lambda: the(product, key).deployed, what="the deploy verified")
    product.sandbox.break_stand("production", "unhealthy", revision=landed)
    item = held(product, key)
    assert (item.stage, item.hold) == (Stage.DEPLOY, Hold.BLOCKED)
    assert item.hold_reason.startswith("Production is degraded")
    product.until(lambda: said(product, key, "Blocked at"), what="the message")
    assert len(said(product, key, "Blocked at")) == 1
    assert [one.revision for one in deploys(product, key)] == [landed, served]
    assert product.sandbox.stand("production").revision == served
    undone(product, key, landed, main, tmp_path)
    assert_not_deployed_again(product, key, landed)


def undone(product: Product, key: str, landed: str, before: str, folder: Path) -> None:
    """A pull request has brought the default branch back to what it was like before."""
    repository = product.sandbox.repository()
    [pull] = [pull for pull in repository.pulls if pull.title.startswith(f"Revert {key}")]
    assert (pull.merged, pull.head_sha) == (True, repository.main)
    assert repository.main_tips[-2:] == [landed, repository.main]
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", product.sandbox.clone_url_with_token(), str(clone)], check=True)
    assert subprocess.run(["git", "diff", "--quiet", before, repository.main], cwd=clone, check=False).returncode == 0


def assert_not_deployed_again(product: Product, key: str, landed: str) -> None:
    served = product.sandbox.stand("production").revision
    product.sandbox.mend_stand("production")
    retry(product, key)
    reason = "Its change was reverted on the default branch; write a new issue for another try."
    product.until(lambda: the(product, key).hold_reason == reason, what="blocked again")
    assert product.sandbox.stand("production").revision == served
    assert [one.revision for one in deploys(product, key)].count(landed) == 1


# --- a person's own hand on the pull request


def test_a_pull_request_that_a_person_merges_at_deploy_is_not_done_by_that_but_deployed_once_confirmed(
    product: Product,
) -> None:
    [key] = asked_to_confirm(product, "globes")
    wait = waiting(product, key, WaitKind.CONFIRMATION)
    merge(product, key)
    item = the(product, key)
    assert (item.stage, item.landed, item.hold, deploys(product, key)) == (Stage.DEPLOY, None, None, [])
    assert waiting(product, key, WaitKind.CONFIRMATION).id == wait.id
    confirm(product, key)
    in_production(product, done(product, key))


def test_a_pull_request_that_a_person_merges_before_makes_the_item_done_without_a_deploy(product: Product) -> None:
    product.sandbox.ci("hold")
    [key] = sell(product, "hats")
    product.decide_for(key, until=Stage.DEVELOPMENT)
    waiting(product, key, WaitKind.CI)
    merge(product, key)
    item = done(product, key)
    assert (item.landed, deploys(product, key)) == (None, [])
    product.until(lambda: said(product, key, "merged the pull request"), what="the message")
    product.until(lambda: product.sandbox.card(key).state == "Done", what="the card in Done")


def test_a_pull_request_that_is_closed_unmerged_needs_a_person_whose_retry_lets_it_go_on(product: Product) -> None:
    [key] = asked_to_confirm(product, "inks")
    number = the(product, key).pull_number
    assert number is not None
    product.sandbox.close_pull(number)
    item = held(product, key)
    assert (item.stage, item.hold) == (Stage.DEPLOY, Hold.NEEDS_INPUT)
    product.until(lambda: product.sandbox.card(key).state == "Needs Input", what="the card in Needs Input")
    with product.sandbox.gitea_api() as gitea:
        gitea.patch(f"/repos/acme/shop/pulls/{number}", json={"state": "open"}).raise_for_status()
    retry(product, key)
    waiting(product, key, WaitKind.CONFIRMATION)
    confirm(product, key)
    in_production(product, done(product, key))


# --- what is the stand's fault


def test_a_staging_check_that_cannot_start_blocks_the_item_and_spends_no_attempt(product: Product) -> None:
    [check] = product.folder.parent.glob("staging-check")
    away = check.rename(check.with_suffix(".away"))
    try:
        [key] = sell(product, "jars")
        product.decide_for(key, until=Stage.DEPLOY_STAGING)
        item = held(product, key)
    finally:
        away.rename(check)
    assert (item.stage, item.hold, item.attempts) == (Stage.DEPLOY_STAGING, Hold.BLOCKED, {})
    assert "The staging check could not run" in item.hold_reason
    assert check.name in item.hold_reason
    retry(product, key)
    waiting(product, key, WaitKind.CONFIRMATION)


def test_an_item_that_staging_does_not_run_never_lands_and_goes_on_once_the_stand_is_mended(product: Product) -> None:
    main = product.sandbox.repository().main
    product.sandbox.break_stand("staging", "old_revision")
    [key] = sell(product, "kites")
    product.decide_for(key, until=Stage.DEPLOY_STAGING)
    item = held(product, key)
    assert (item.stage, item.hold, item.attempts) == (Stage.DEPLOY_STAGING, Hold.BLOCKED, {})
    assert "although" in item.hold_reason
    assert "Look at the stand." in item.hold_reason
    assert (item.landed, product.sandbox.repository().main) == (None, main)
    product.sandbox.mend_stand("staging")
    retry(product, key)
    waiting(product, key, WaitKind.CONFIRMATION)
    assert the(product, key).attempts == {}
