"""Staging and production at work: what lands is what was tested, staged, confirmed, deployed and verified."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.prefect_server import PrefectServer
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from tests.support.product import Product, registry_of, running_product
from tests.support.shop_items import (
    asked_to_confirm,
    come_to_staging,
    confirm,
    confirmations,
    deploys,
    done,
    held,
    in_production,
    item_at,
    merge,
    nothing_is_watched,
    retry,
    said,
    the,
    verified,
    waiting,
)

CHECK = "staging-check"

WATCHED = {
    "monitor_window_s": 5,
    "monitor_interval_s": 1,
    "monitor_failures": 2,
    "verify_within_s": 3,
    "revert_when_degraded": True,
}

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    """A product that stages, deploys, watches and reverts; its staging check is a file that tests take away."""
    folder = tmp_path_factory.mktemp("deploys")
    check = folder / CHECK

    def registry(sandbox: SandboxClient) -> str:
        stands: dict[str, Any] = stand_settings(sandbox.url)
        check.write_text(f"#!/bin/sh\nexec {shlex.join(stands['staging_check'])}\n")
        check.chmod(0o755)
        return registry_of(sandbox, ("SHOP",), **{**stands, **WATCHED, "staging_check": [str(check)]})

    with running_product(folder / "p", prefect_server, registry=registry, merge_defer_s=1) as running:
        running.sandbox.ci("off")
        yield running


@pytest.fixture(autouse=True)
def _mended(product: Product) -> Iterator[None]:
    """Every test leaves the stands as they should be."""
    yield
    product.sandbox.clear_faults()


# --- the default branch moves


def test_a_confirmed_item_under_which_main_moved_is_validated_anew_and_lands_without_being_asked_again(
    product: Product,
) -> None:
    first, second = asked_to_confirm(product, "bags", "cards")
    before = the(product, first).validated
    confirm(product, second)
    in_production(product, verified(product, second))
    assert waiting(product, first, WaitKind.CONFIRMATION).commit == before
    confirm(product, first)
    item = verified(product, first)
    in_production(product, item)
    assert product.sandbox.repository().main == item.landed != before
    assert product.moves(first)[-3:] == ["deploy", "deploy_staging", "deploy"]
    assert confirmations(product, item) == [before]
    assert (item.attempts, len(deploys(product, second))) == ({}, 1)
    assert {done(product, key).deployed for key in (first, second)} == {item.landed, the(product, second).landed}


def test_nothing_else_lands_while_a_deploy_is_under_way(product: Product) -> None:
    first, second = asked_to_confirm(product, "dolls", "eggs")
    product.sandbox.break_stand("production", "slow_hook", 1, seconds=50, hook="deploy")
    confirm(product, first)
    product.until(lambda: product.sandbox.stand("production").hooks_under_way, what="the deploy under way")
    landed = the(product, first).landed
    assert landed is not None
    confirm(product, second)
    wait = waiting(product, second, WaitKind.MERGE_TURN)
    assert wait.sentence == f"A deploy of {landed[:12]} is under way; nothing lands before it has ended."
    assert (product.sandbox.repository().main, the(product, second).landed) == (landed, None)
    product.sandbox.mend_stand("production")
    assert verified(product, first).landed == landed
    product.tick()
    in_production(product, verified(product, second))
    assert len(deploys(product, first)) == 1


def test_a_retried_deploy_does_not_put_an_older_commit_over_a_newer_one(product: Product) -> None:
    first, second = asked_to_confirm(product, "nuts", "oils")
    product.sandbox.break_stand("production", "could_not_run", hook="deploy")
    confirm(product, first)
    blocked = held(product, first)
    assert "The deploy hook could not run" in blocked.hold_reason
    product.sandbox.mend_stand("production")
    confirm(product, second)
    newer = verified(product, second)
    in_production(product, newer)
    retry(product, first)
    item = done(product, first)
    assert (item.landed, item.deployed, deploys(product, first)) == (blocked.landed, None, [])
    assert product.sandbox.stand("production").revision == newer.landed


# --- Gitea is away


def test_what_has_landed_is_verified_watched_and_done_while_gitea_is_away(product: Product) -> None:
    [key] = asked_to_confirm(product, "pens")
    product.sandbox.break_stand("production", "slow_hook", 1, seconds=50, hook="deploy")
    confirm(product, key)
    product.until(lambda: product.sandbox.stand("production").hooks_under_way, what="the deploy under way")
    product.sandbox.fail_next("gitea", 10_000, status=503)
    product.sandbox.mend_stand("production")
    assert done(product, key).deployed == the(product, key).landed


def test_people_are_told_that_production_sickens_while_gitea_is_away(product: Product) -> None:
    [key] = asked_to_confirm(product, "quills")
    nothing_is_watched(product)
    confirm(product, key)
    item = verified(product, key)
    product.sandbox.fail_next("gitea", 10_000, status=503)
    product.sandbox.break_stand("production", "unhealthy", revision=item.deployed)
    assert held(product, key).hold_reason.startswith("Production is degraded")
    product.until(lambda: said(product, key, "Production is not well"), what="the message")


# --- production degrades


def test_a_change_that_degrades_production_is_rolled_back_and_reverted_and_calls_a_person_once(
    product: Product, tmp_path: Path
) -> None:
    [key] = asked_to_confirm(product, "forks")
    nothing_is_watched(product)
    served, main = product.sandbox.stand("production").revision, product.sandbox.repository().main
    confirm(product, key)
    landed = product.until(lambda: the(product, key).deployed, what="the deploy verified")
    product.sandbox.break_stand("production", "unhealthy", revision=landed)
    item = held(product, key)
    assert (item.stage, item.hold) == (Stage.DEPLOY, Hold.BLOCKED)
    assert item.hold_reason.startswith("Production is degraded")
    assert f"Production was rolled back to {served[:12]}." in item.hold_reason
    product.until(lambda: said(product, key, "Production is not well"), what="the message")
    assert (len(said(product, key, "Production is not well")), said(product, key, "Blocked at")) == (1, [])
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
    in_production(product, verified(product, key))


def test_a_pull_request_that_a_person_merges_onto_a_neighbour_is_validated_with_it_before_it_is_deployed(
    product: Product,
) -> None:
    first, second = asked_to_confirm(product, "lamps", "mugs")
    confirm(product, first)
    verified(product, first)
    merge(product, second)
    alone = the(product, second).validated
    confirm(product, second)
    wait = product.until(
        lambda: (w := product.wait(second)) and w.kind is WaitKind.CONFIRMATION and w.commit != alone and w,
        what="asked about the change together with its neighbour",
    )
    confirm(product, second)
    item = verified(product, second)
    in_production(product, item)
    assert item.landed == wait.commit == product.sandbox.repository().main
    with product.sandbox.gitea_api() as gitea:
        gitea.get(f"/repos/acme/shop/contents/shop/lamps.py?ref={item.landed}").raise_for_status()


def test_a_pull_request_that_a_person_merges_before_makes_the_item_done_without_a_deploy(product: Product) -> None:
    key = item_at(product, "hats", Stage.TESTING)
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
    in_production(product, verified(product, key))


# --- what is the stand's fault


def test_a_staging_check_that_cannot_start_blocks_the_item_and_spends_no_attempt(product: Product) -> None:
    check = product.folder.parent / CHECK
    away = check.rename(check.with_suffix(".away"))
    try:
        [key] = come_to_staging(product, "jars")
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
    [key] = come_to_staging(product, "kites")
    item = held(product, key)
    assert (item.stage, item.hold, item.attempts) == (Stage.DEPLOY_STAGING, Hold.BLOCKED, {})
    assert "although" in item.hold_reason
    assert "Look at the stand." in item.hold_reason
    assert (item.landed, product.sandbox.repository().main) == (None, main)
    product.sandbox.mend_stand("staging")
    retry(product, key)
    waiting(product, key, WaitKind.CONFIRMATION)
    assert the(product, key).attempts == {}
