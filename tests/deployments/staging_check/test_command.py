"""The whole command against a running product: a real Prefect server, receiver, worker, git and sandbox."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolUpdate
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger

from deployments.automations import PREFIX
from deployments.pools import AGENTS, CONTROL
from deployments.prefect_server import PrefectServer
from deployments.staging_check import clean_up as clean_up_module
from deployments.staging_check import registered
from deployments.staging_check import staging as staging_module
from deployments.staging_check.checks import CHECKS
from deployments.staging_check.command import INTERRUPTED, REFUSED
from deployments.staging_check.mode import Mode
from deployments.staging_check.runner import Result, carry_out
from deployments.staging_check.staging import staging_of
from pipeline.stages import Stage
from pipeline.store import inbox, items
from tests.deployments.staging_check.by_hand import (
    automation,
    command,
    delete_automation,
    put_right,
    set_agent,
    staging_check,
)
from tests.support.product import Product, running_product

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.prefect]

NAMES = [check.name for check in CHECKS]
UNREACHABLE = "postgresql+psycopg://orch@127.0.0.1:1/orch"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    """A staging stand: the sandbox's settings say that it is one."""
    with running_product(tmp_path_factory.mktemp("product") / "p", prefect_server) as running:
        for pool in (AGENTS, CONTROL):  # the tests' warm worker runs flows, and says nothing of itself
            running.prefect(lambda client, pool=pool: client.send_worker_heartbeat(pool, "warm", 3600))
        running.tick()
        yield running


@pytest.fixture
def one(product: Product, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Carries a single check out, in this process, with some settings changed."""
    for name, value in product.server.client_environment().items():
        monkeypatch.setenv(name, value)

    def carry_out_one(name: str, **changes: Any) -> Result:
        settings = product.settings.model_copy(update=changes)
        check = next(check for check in CHECKS if check.name == name)
        return asyncio.run(carry_out(check, staging_of(settings, Mode.STUB, mark="one")))

    return carry_out_one


def test_on_a_sound_stand_all_ten_are_ok_and_nothing_stays_but_a_cancelled_card(product: Product) -> None:
    told = staging_check(product, "--json")
    assert (told.code, told.failed) == (0, {}), told.err
    answer = json.loads(told.out)
    assert [check["name"] for check in answer["checks"]] == NAMES
    assert (answer["mode"], answer["failed"]) == ("stub", 0)
    [item] = product.read(items.all_items)
    assert item.stage is Stage.CANCELLED
    assert "Staging check" in item.title
    assert told.checks["start"]["sentence"].startswith(f"{item.key} was started, and its analyst")
    assert product.sandbox.card(item.key).state == "Cancelled"
    assert not (product.settings.state_dir / "worktrees" / "SHOP" / item.key).exists()


def test_with_the_live_mode_the_analyst_has_to_finish(product: Product) -> None:
    told = staging_check(product, "--mode", "live")
    assert told.code == 0, told.out
    lines = told.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"✓ {name}" for name in NAMES]
    assert lines[8].endswith("was started, and its analyst has finished.")


def test_an_automation_that_was_deleted_is_named_by_its_check_alone(product: Product) -> None:
    name = f"{PREFIX} signals wake"
    delete_automation(product, name)
    told = staging_check(product, "--json")
    put_right(product)
    assert told.failed == {
        "automations": f"Of Orch's automations “{name}” is missing: start `orch up` again, which puts it right."
    }
    assert told.code == 1


def test_with_another_webhook_secret_signed_deliveries_are_refused_and_no_card_is_written(product: Product) -> None:
    cards = len(product.sandbox.state().cards)
    told = staging_check(product, "--json", ORCH_PLANE_WEBHOOK_SECRET="another")
    assert (set(told.failed), told.code) == ({"signed_webhook", "start"}, 2)
    assert "ORCH_PLANE_WEBHOOK_SECRET" in told.failed["signed_webhook"]
    assert told.checks["clean_up"]["sentence"] == "Nothing was created, so there is nothing to clean up."
    assert len(product.sandbox.state().cards) == cards


def test_a_postgresql_that_is_away_is_a_sentence(product: Product) -> None:
    told = staging_check(product, "--json", ORCH_DATABASE_URL=UNREACHABLE)
    assert (set(told.failed), told.code) == ({"database", "start"}, 2)
    assert told.failed["database"].startswith("The database at postgresql+psycopg://orch@127.0.0.1:1/orch does not")
    assert told.failed["database"].endswith("start it, or correct ORCH_DATABASE_URL.")


@pytest.mark.parametrize("moment", ["card", "item"])
def test_an_interrupted_check_cleans_up_before_it_ends(product: Product, moment: str) -> None:
    before = {card.key for card in product.sandbox.state().cards}
    process = subprocess.Popen(
        command("--mode", "live"), env=product.environment, cwd=product.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    [key] = product.until(lambda: {card.key for card in product.sandbox.state().cards} - before, what="the card")
    if moment == "item":
        product.until(lambda: product.item(key), what="the item")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=150)
    assert (process.returncode, err) == (INTERRUPTED, "")
    *_, cleaned, interrupted = out.splitlines()
    assert cleaned.startswith(f"✓ clean_up: {key} was ")
    assert interrupted == "Interrupted."
    item = product.item(key)
    assert item.stage is Stage.CANCELLED if item else moment == "card"
    assert product.sandbox.card(key).state == "Cancelled"


@pytest.mark.parametrize(
    ("words", "changes", "sentence"),
    [
        ((), {"ORCH_STAND": "production"}, "These settings are of a production stand"),
        (("--json",), {"ORCH_PLANE_TOKEN": ""}, "These settings are missing"),
        (("--json",), {"ORCH_STAND": "elsewhere"}, "These settings cannot be read"),
    ],
)
def test_what_is_no_staging_stand_is_refused_with_a_sentence(
    product: Product, words: tuple[str, ...], changes: dict[str, str], sentence: str
) -> None:
    told = staging_check(product, *words, **changes)
    assert (told.code, told.out) == (REFUSED, "")
    assert sentence in told.err


def test_a_stub_check_refuses_an_agent_that_is_not_the_scripted_one(
    product: Product, one: Callable[..., Result]
) -> None:
    scripted = product.prefect(lambda _client: set_agent(["claude", "-p"]))
    try:
        found = one("start")
    finally:
        product.prefect(lambda _client: set_agent(scripted))
    assert not found.ok
    assert "agent is claude" in found.sentence
    assert "--mode live" in found.sentence


def test_automations_that_are_off_or_unknown_are_named(product: Product, one: Callable[..., Result]) -> None:
    wake = automation(product, f"{PREFIX} wake")
    product.prefect(lambda client: client.pause_automation(wake.id))
    off = one("automations")
    product.prefect(lambda client: client.resume_automation(wake.id))
    assert off.sentence == f"Somebody has switched off {PREFIX} wake: switch it on in Prefect, Automations."
    stray = AutomationCore(
        name=f"{PREFIX} long forgotten", trigger=EventTrigger(expect={"never.happens"}), actions=[DoNothing()]
    )
    product.prefect(lambda client: client.create_automation(stray))
    unknown = one("automations")
    assert f"“{stray.name}” is not known to this version" in unknown.sentence
    assert automation(product, stray.name).name == stray.name, "a check writes nothing"
    delete_automation(product, stray.name)
    assert one("automations").ok


def test_deployments_that_are_paused_or_missing_are_named(product: Product, one: Callable[..., Result]) -> None:
    wake = product.prefect(lambda client: client.read_deployment_by_name("wake/wake"))
    product.prefect(lambda client: client.pause_deployment(wake.id))
    paused = one("deployments")
    product.prefect(lambda client: client.delete_deployment(wake.id))
    missing, lost = one("deployments"), one("automations")
    put_right(product)
    assert paused.sentence == "Somebody has paused wake/wake: resume it in Prefect, Deployments."
    assert missing.sentence == "Prefect has no deployment wake/wake: start `orch up` again, which puts it right."
    assert f"“{PREFIX} wake” is not as it should be" in lost.sentence
    assert one("deployments").ok


def test_limits_pools_and_workers_are_named_when_something_is_wrong(
    product: Product, one: Callable[..., Result]
) -> None:
    off, busy = GlobalConcurrencyLimitUpdate(active=False), WorkPoolUpdate(concurrency_limit=99, is_paused=True)
    product.prefect(lambda client: client.update_global_concurrency_limit("merge-SHOP", off))
    product.prefect(lambda client: client.update_work_pool(AGENTS, busy))
    found = one("limits")
    product.prefect(lambda client: client.delete_global_concurrency_limit_by_name("merge-SHOP"))
    product.prefect(lambda client: client.update_work_pool(AGENTS, WorkPoolUpdate(is_paused=False)))
    missing = one("limits")
    put_right(product)
    assert found.sentence == (
        "the concurrency limit merge-SHOP is switched off: activate it in Prefect, Concurrency; the work pool"
        " orch-agents takes 99 runs at once, not 2: start `orch up` again, which puts it right; the work pool"
        " orch-agents is paused: resume it in Prefect, Work Pools."
    )
    assert "Prefect has no concurrency limit merge-SHOP" in missing.sentence
    assert one("limits").ok


def test_a_prefect_that_takes_other_credentials_or_is_away_is_a_sentence(
    one: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, free_port: int, tmp_path: Path
) -> None:
    monkeypatch.setattr(registered, "PATIENCE_S", 0.5)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "orch:another")
    assert "does not take Orch's secret" in one("prefect").sentence
    assert "answers 401: correct PREFECT_API_AUTH_STRING" in one("deployments").sentence
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    for name in ("prefect", "automations", "deployments", "limits"):
        assert f"The Prefect server at http://127.0.0.1:{free_port}/api does not answer" in one(name).sentence
    monkeypatch.delenv("PREFECT_API_URL")
    assert "so no Prefect server was started with these settings" in one("prefect", state_dir=tmp_path).sentence
    assert list(tmp_path.iterdir()) == [], "no secret is made"


def test_a_creation_that_was_not_answered_is_cleaned_up_too(product: Product) -> None:
    before = {card.key for card in product.sandbox.state().cards}
    product.sandbox.fail_next("plane", status=502, match="POST /", after=True)
    told = staging_check(product, "--json")
    assert set(told.failed) == {"start"}
    [card] = [card for card in product.sandbox.state().cards if card.key not in before]
    assert told.checks["clean_up"]["sentence"] == (
        f"{card.key} was never started; its card stays in Plane as Cancelled, for Orch deletes none."
    )
    assert card.state == "Cancelled"


def test_a_start_that_no_worker_has_acted_upon_is_taken_back(
    product: Product, one: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "START_S", 3)
    monkeypatch.setattr(clean_up_module, "APPEARS_WITHIN_S", 3)
    product.stop("worker")
    staging = staging_of(product.settings, Mode.STUB, mark="nobody")
    begun, cleaned = (asyncio.run(carry_out(check, staging)) for check in CHECKS[-2:])
    assert staging.attempt is not None
    assert staging.attempt.card is not None
    key = staging.attempt.card.key
    assert begun.sentence.startswith(f"{key} was moved to To Analyse, and after 3 s it is no work item yet: see the")
    assert cleaned.sentence == f"{key} was never started; its card stays in Plane as Cancelled, for Orch deletes none."
    product.start_worker()
    product.tick()
    assert product.item(key) is None
    assert product.read(lambda session: inbox.unconsumed(session, key)) == []


def test_a_database_that_was_moved_away_is_named_and_none_is_made(product: Product) -> None:
    product.stop("worker")  # its runs would make an empty file
    database, away = product.settings.state_dir / "orch.db", product.folder / "away"
    away.mkdir()
    for file in database.parent.glob("orch.db*"):
        file.rename(away / file.name)
    told = staging_check(product, "--json")
    assert {"database", "start"} <= set(told.failed)
    assert told.code == len(told.failed)
    assert told.failed["database"].startswith(f"There is no database at {database}: put the file back where it was")
