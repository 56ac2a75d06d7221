"""The receiver over real HTTP: what is right is stored before the answer, which waits for nobody."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from deployments.receiver.app import create_app
from deployments.sandbox.client import SandboxClient
from flows import reconcile
from pipeline.errors import Unavailable
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from pipeline.store import counters, heartbeats, items, outbox, queue, reactions
from tests.pipeline.store.helpers import claimed
from tests.support.hooks import plane_moved, plane_says, receiving
from tests.support.services import Desk, until


async def test_a_card_that_is_moved_in_plane_arrives_and_is_announced(
    web: httpx.AsyncClient, desk: Desk, sandbox: SandboxClient
) -> None:
    sandbox.plane_webhook(f"{web.base_url}/webhooks/plane", desk.settings.plane_webhook_secret.get_secret_value())
    card = desk.card()
    await asyncio.to_thread(sandbox.move_card, card.key, "To Analyse")
    await until(lambda: desk.prefect.names)
    assert desk.prefect.names == ["orch.signal.start_requested"]
    assert [(row.item_key, row.actor) for row in desk.signals] == [(card.key, "ada")]
    assert desk.transitions == []


async def test_the_second_of_two_equal_deliveries_is_acknowledged_and_not_stored(
    web: httpx.AsyncClient, desk: Desk
) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse")
    answers = [await plane_says(web, desk, body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert (len(desk.deliveries), len(desk.signals)) == (1, 1)


async def test_of_many_equal_deliveries_at_once_one_is_stored(web: httpx.AsyncClient, desk: Desk) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse")
    answers = await asyncio.gather(*(plane_says(web, desk, body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert (len(desk.deliveries), len(desk.signals)) == (1, 1)


async def test_what_comes_while_plane_is_down_is_understood_once_it_is_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.receiver.app.ASK_AGAIN_AT_MOST_S", 0.1)
    card = desk.card()
    body = plane_moved(desk, card, "To Analyse")
    desk.sandbox.fail_next("plane", 1000, status=503)
    async with receiving(desk) as web:
        answer = await plane_says(web, desk, body)
        assert (answer.status_code, "once Plane and Gitea have answered" in answer.json()["message"]) == (202, True)
        assert desk.signals == []
        desk.sandbox.clear_faults()
        await until(lambda: desk.prefect.names)
    assert [row.item_key for row in desk.signals] == [card.key]


async def test_an_answer_does_not_wait_for_plane(web: httpx.AsyncClient, desk: Desk) -> None:
    card = desk.card()
    body = plane_moved(desk, card, "To Analyse")
    desk.store.write(reactions.tell, desk.item().key, "Hello", "hello", desk.clock.now)
    desk.sandbox.hang("plane")
    assert (await plane_says(web, desk, body)).status_code == 202
    assert (await web.get("/healthz")).status_code == 200


async def test_a_hanging_plane_holds_up_no_event_to_prefect(web: httpx.AsyncClient, desk: Desk) -> None:
    desk.sandbox.hang("plane", match="comments")
    desk.store.write(reactions.tell, desk.item().key, "Hello", "hello", desk.clock.now)
    await until(lambda: [row for row in desk.letters if row.claimed_until])
    body = plane_moved(desk, desk.card(), "To Analyse")
    assert (await plane_says(web, desk, body)).status_code == 202
    # The event is noted as sent a moment after Prefect has it.
    await until(lambda: desk.prefect.names and [row.kind for row in desk.letters if row.sent_at is None] == ["comment"])


async def test_a_pump_outlives_what_goes_wrong_in_it(
    web: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    def broken(*_args: object, **_more: object) -> list[outbox.Letter]:
        failed.set()
        raise RuntimeError("a bug")

    with monkeypatch.context() as bug:
        bug.setattr(outbox, "claim", broken)
        await asyncio.wait_for(failed.wait(), 10)
    desk.store.write(outbox.wake, desk.item().key, desk.clock.now)
    await until(lambda: desk.prefect.names)


async def test_shutting_down_just_as_a_delivery_comes_does_not_hang(desk: Desk) -> None:
    app = create_app(desk.root)
    body = plane_moved(desk, desk.card(), "To Analyse")
    transport = httpx.ASGITransport(app=app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://orch") as client,
        app.router.lifespan_context(app),
    ):
        await until(lambda: desk.root.states.cached(desk.project))
        assert (await plane_says(client, desk, body)).status_code == 202
    assert len(desk.deliveries) == 1


# --- health and queue


async def test_health_tells_the_last_tick_and_whether_it_is_late(web: httpx.AsyncClient, desk: Desk) -> None:
    assert (await web.get("/healthz")).json() == {
        "status": "ok",
        "stand": "staging",
        "last_tick": None,
        "reconciler": "late",
    }
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now)
    fresh = {"status": "ok", "stand": "staging", "last_tick": desk.clock.now.isoformat(), "reconciler": "ok"}
    assert (await web.get("/healthz")).json() == fresh
    desk.clock.forward((heartbeats.TICKS_LATE + timedelta(seconds=1)).total_seconds())
    assert (await web.get("/healthz")).json() == fresh | {"reconciler": "late"}


async def test_health_names_the_part_of_the_tick_that_fails_and_since_when(
    web: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def heal(_root: object) -> list[str]:
        return []

    async def poll(_root: object) -> list[str]:
        raise Unavailable("Plane is away.")

    async def broken(_root: object) -> list[str]:
        raise AttributeError("a bug")

    broken.__name__, began = heal.__name__, desk.clock.now
    monkeypatch.setattr(reconcile, "PARTS", (heal, poll))
    await reconcile.tick(desk.root)
    assert (await web.get("/healthz")).json()["reconciler"] == "ok", "a neighbour that is away is no fault of Orch's"
    monkeypatch.setattr(reconcile, "PARTS", (broken, poll))
    desk.clock.forward(100)
    await reconcile.tick(desk.root)
    told = (await web.get("/healthz")).json()
    assert (told["reconciler"], told["failing"]) == ("late", {"heal": began.isoformat()})


async def test_health_without_a_database_is_down(web: httpx.AsyncClient, desk: Desk) -> None:
    desk.store.engine.dispose()
    (desk.settings.state_dir / "orch.db").rename(desk.settings.state_dir / "gone.db")
    answer = await web.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")


async def test_the_queue_tells_who_waits_for_what_and_why(web: httpx.AsyncClient, desk: Desk) -> None:
    asking, held, merging = desk.item(), desk.item(Stage.TESTING), desk.item(Stage.DEPLOY_STAGING)
    wait = desk.asks(asking, WaitKind.APPROVAL)
    desk.store.write(items.hold, held.id, Hold.BLOCKED, "The repository is gone.", desk.clock.now)
    desk.store.write(queue.take, merging, desk.clock.now)
    claimed(desk.store, merging, run="run-7", now=desk.clock.now)
    told = (await web.get("/queue")).json()
    by_key = {entry["key"]: entry for entry in told["items"]}
    assert list(by_key) == [asking.key, held.key, merging.key]
    entry = by_key[asking.key]
    assert (entry["waiting_for"], entry["why"], entry["run"]) == ("approval", "waits for approval", None)
    assert entry["waiting_since"] == wait.since.isoformat()
    assert by_key[held.key]["hold"] == "blocked"
    assert "The repository is gone." in by_key[held.key]["why"]
    assert by_key[merging.key]["run"] == "run-7"
    assert told["merge_queues"] == {"SHOP": [merging.id]}
    assert (told["unconsumed_signals"], told["pending_deliveries"], told["unsent_letters"]) == (0, 0, 0)


async def test_the_logo_that_prefects_pages_ask_for_is_served(web: httpx.AsyncClient) -> None:
    answer = await web.get("/logos/plane-workspace.svg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert (await web.get("/logos/../app.py")).status_code == 404


async def test_the_metrics_count_items_waits_and_what_the_reconciler_did(web: httpx.AsyncClient, desk: Desk) -> None:
    desk.asks(desk.item(), WaitKind.APPROVAL)
    claimed(desk.store, desk.item(Stage.TESTING), run="run-8", now=desk.clock.now)
    desk.store.write(counters.count, counters.DEDUPED, 3)
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now)
    answer = await web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = answer.text.splitlines()
    for line in (
        'orch_items{stage="analysis"} 1.0',
        'orch_items{stage="testing"} 1.0',
        'orch_waiting_items{wait="approval"} 1.0',
        "orch_deduped_total 3.0",
        "orch_leases 1.0",
    ):
        assert line in told
    assert any(line.startswith("orch_last_tick_timestamp_seconds ") for line in told)
    assert (await web.get("/queue")).json()["reconciler"][counters.DEDUPED] == 3
