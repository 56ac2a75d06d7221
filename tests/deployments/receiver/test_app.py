"""The receiver over real HTTP: what is wrong is refused and changes nothing, what is right is stored before the answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.receiver.app import HEARTBEAT, TICKS_LATE, create_app
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from deployments.sandbox.views import CardView
from pipeline.inbound.signature import sign
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from pipeline.store import heartbeats, items, outbox, queue, reactions
from tests.pipeline.store.helpers import claimed
from tests.support.services import (
    Desk,
    gitea_headers,
    gitea_status,
    open_desk,
    plane_headers,
    plane_moved,
    until,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def receiving(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a receiver that serves on the desk's port, pumps included."""
    where = {"host": desk.settings.host, "port": desk.settings.port}
    server = uvicorn.Server(uvicorn.Config(create_app(desk.root), **where, log_config=None, lifespan="on"))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    url = f"http://{desk.settings.host}:{desk.settings.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def web(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A receiver that knows itself and the project's states (which it learns last)."""
    async with receiving(desk) as client:
        await until(lambda: desk.root.states.cached(desk.project))
        yield client


@pytest.fixture
async def door(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """The same without a socket: for what depends on the request alone, and for requests that no socket lets through."""
    app = create_app(desk.root)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://orch") as client,
    ):
        await until(lambda: desk.root.states.cached(desk.project))
        yield client


async def plane_says(web: httpx.AsyncClient, desk: Desk, body: bytes, **headers: str) -> httpx.Response:
    return await web.post("/webhooks/plane", content=body, headers=plane_headers(desk.settings, body) | headers)


async def gitea_says(web: httpx.AsyncClient, desk: Desk, body: bytes, event: str = "status") -> httpx.Response:
    return await web.post("/webhooks/gitea", content=body, headers=gitea_headers(desk.settings, body, event))


def assert_nothing_happened(desk: Desk) -> None:
    assert (desk.deliveries, desk.signals, desk.letters, desk.transitions) == ([], [], [], [])


# --- what is refused

BODY = b'{"event": "issue", "action": "updated"}'


@pytest.mark.parametrize("path", ["/webhooks/plane", "/webhooks/gitea"])
@pytest.mark.parametrize("signature", [None, "", "0" * 64, sign(BODY, "another secret"), "\xff"])
async def test_a_delivery_without_the_right_signature_is_refused(
    door: httpx.AsyncClient, desk: Desk, path: str, signature: str | None
) -> None:
    headers = {b"Content-Type": b"application/json"}
    if signature is not None:
        headers |= {name: signature.encode("latin-1") for name in (b"X-Plane-Signature", b"X-Gitea-Signature")}
    answer = await door.post(path, content=BODY, headers=list(headers.items()))
    assert answer.status_code == 401
    assert "signature" in answer.json()["message"] or "signed" in answer.json()["message"]
    assert_nothing_happened(desk)


async def test_one_neighbours_secret_does_not_open_the_others_door(door: httpx.AsyncClient, desk: Desk) -> None:
    body = gitea_status("a" * 40)
    signature = sign(body, desk.settings.plane_webhook_secret.get_secret_value())
    headers = gitea_headers(desk.settings, body, "status") | {"X-Gitea-Signature": signature}
    assert (await door.post("/webhooks/gitea", content=body, headers=headers)).status_code == 401


async def test_a_body_that_says_it_is_too_large_is_refused(door: httpx.AsyncClient, desk: Desk) -> None:
    answer = await plane_says(door, desk, b" " * (desk.settings.max_body_bytes + 1))
    assert (answer.status_code, answer.json()["message"]) == (413, "The body is larger than 1048576 bytes.")
    assert_nothing_happened(desk)


async def test_a_body_that_turns_out_too_large_is_refused(door: httpx.AsyncClient, desk: Desk) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65536

    answer = await door.post("/webhooks/plane", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert_nothing_happened(desk)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_what_is_not_sent_as_json_is_refused(door: httpx.AsyncClient, desk: Desk, kind: str) -> None:
    answer = await plane_says(door, desk, BODY, **{"Content-Type": kind})
    assert answer.status_code == 415
    assert_nothing_happened(desk)


async def test_the_content_type_is_compared_without_case(door: httpx.AsyncClient, desk: Desk) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse")
    assert (
        await plane_says(door, desk, body, **{"Content-Type": "Application/JSON; charset=UTF-8"})
    ).status_code == 202


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"payload=%7B%7D", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 5000, "body"),
        (b"{}", "event"),
        (BODY, "activity"),
        (b'{"event": "issue", "action": "created", "data": {"id": "x"}}', "data.project"),
        (b'{"event": "issue_comment", "action": "created", "data": {"id": 3}}', "data.id"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_with_the_field(
    door: httpx.AsyncClient, desk: Desk, body: bytes, names: str
) -> None:
    answer = await plane_says(door, desk, body)
    assert answer.status_code == 400
    assert names in answer.json()["message"]
    assert_nothing_happened(desk)


async def test_an_event_that_means_nothing_is_acknowledged_and_not_kept(door: httpx.AsyncClient, desk: Desk) -> None:
    answers = [
        await plane_says(door, desk, b'{"event": "module", "action": "created", "data": {}}'),
        await gitea_says(door, desk, b"{}", "fork"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert_nothing_happened(desk)


async def test_an_unknown_project_is_acknowledged_and_ignored(door: httpx.AsyncClient, desk: Desk) -> None:
    answer = await gitea_says(door, desk, gitea_status("a" * 40, repository="other/place"))
    assert (answer.status_code, answer.json()["message"]) == (200, "status: No project of the registry is other/place.")
    assert_nothing_happened(desk)


# --- what is taken


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


async def test_what_comes_while_plane_is_down_is_understood_once_it_is_up(desk: Desk) -> None:
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
    await until(lambda: desk.prefect.names)
    assert [row.kind for row in desk.letters if row.sent_at is None] == ["comment"]


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
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://orch") as client:
        async with app.router.lifespan_context(app):
            await until(lambda: desk.root.states.cached(desk.project))
            assert (await plane_says(client, desk, body)).status_code == 202
    assert len(desk.deliveries) == 1


# --- health and queue


async def test_health_tells_the_last_tick_and_whether_it_is_late(web: httpx.AsyncClient, desk: Desk) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok", "last_tick": None, "reconciler": "late"}
    desk.store.write(heartbeats.beat, HEARTBEAT, desk.clock.now)
    fresh = {"status": "ok", "last_tick": desk.clock.now.isoformat(), "reconciler": "ok"}
    assert (await web.get("/healthz")).json() == fresh
    desk.clock.forward((TICKS_LATE + timedelta(seconds=1)).total_seconds())
    assert (await web.get("/healthz")).json() == fresh | {"reconciler": "late"}


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


# --- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Length", "X-Gitea-Event-Type", "X-Gitea-Event", "X-Plane-Event"]),
    st.sampled_from(
        ["application/json", "push", "status", "pull_request", "pull_request_review_approved", "\xb2", "9" * 5000]
    )
    | st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=9),
)


CARD = {
    "key": "SHOP-1", "id": "c" * 8, "project": "SHOP", "title": "Print", "description": "", "state": "", "group": "",
    "labels": [], "blocked_by": [], "comments": [], "updated_at": "2026-11-21T03:00:00Z",
}  # fmt: skip


def spoiled(data: st.DataObject, body: Any) -> Any:
    """A body with one of its values, at any depth, replaced or taken away."""
    if not isinstance(body, dict) or not body or data.draw(st.integers(0, 3)) == 0:
        return data.draw(JSON)
    name = data.draw(st.sampled_from(sorted(body)))
    if data.draw(st.booleans()):
        return {key: value for key, value in body.items() if key != name}
    return body | {name: spoiled(data, body[name])}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_nothing_that_is_sent_here_is_a_server_error_or_moves_an_item(
    door: httpx.AsyncClient, desk: Desk, data: st.DataObject
) -> None:
    moved = len(desk.transitions)
    card = CardView.model_validate(CARD)
    right = [plane_moved(desk, card, "", state_id=str(uuid4())), gitea_status("b" * 40)]
    body = json.dumps(spoiled(data, json.loads(data.draw(st.sampled_from(right))))).encode()
    body = data.draw(st.binary(max_size=60)) if data.draw(st.integers(0, 4)) == 0 else body
    signed = plane_headers(desk.settings, body) | gitea_headers(desk.settings, body, "status")
    headers = (signed if data.draw(st.integers(0, 4)) else {}) | data.draw(HEADERS)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await door.post(f"/webhooks/{data.draw(st.sampled_from(['plane', 'gitea']))}", content=body, headers=raw)
    assert answer.status_code < 500
    assert len(desk.transitions) == moved
