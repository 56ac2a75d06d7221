"""Comments to a Plane that misbehaves: each is written once, under its own bot, and tried again when that may help."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from flows import reconcile
from pipeline.clients.plane import PlaneClient
from pipeline.store import outbox, reactions
from pipeline.store.outbox import BACK_OFF
from tasks.outbox import deliver
from tests.support.faulty import Fault, answer, cut, drop, faulty_server, page, passed
from tests.support.services import Desk, open_desk


def tell(desk: Desk, key: str) -> None:
    desk.store.write(reactions.tell, key, "Hello", "once", desk.clock.now)


@pytest.mark.parametrize(
    ("voice", "author"), [("", "pipeline-bot"), ("stream", "stream-bot"), ("tester", "pipeline-bot")]
)
async def test_a_comment_is_written_under_the_bot_of_its_voice(
    sandbox: SandboxClient, tmp_path: Path, voice: str, author: str
) -> None:
    bots = {"stream": SecretStr(sandbox.options.plane_stream_token), "tester": SecretStr("plane_api_revoked")}
    async with open_desk(sandbox, tmp_path, plane_bot_tokens=bots) as desk:
        item = desk.item()
        desk.store.write(reactions.tell, item.key, "Hello", "once", desk.clock.now, voice=voice)
        desk.store.write(outbox.status, item.key, desk.clock.now)
        assert await deliver(desk.root) == 2
        [comment] = desk.sandbox.card(item.key).comments
        assert (comment.actor, comment.html) == (author, "<p>Hello</p>")


@pytest.mark.parametrize("done", [True, False])
async def test_a_comment_whose_answer_was_lost_is_written_once(desk: Desk, done: bool) -> None:
    """Plane wrote it and answered 500, or answered nothing; the external id keeps the second try from another one."""
    item = desk.item()
    fault = answer(500, {"error": "Something went wrong"}) if done else drop()
    with faulty_server([passed(then=fault)], behind=desk.sandbox.plane_url) as plane:
        async with PlaneClient(plane.url, desk.settings.plane_workspace, desk.settings.plane_token) as client:
            root = replace(desk.root, tracker=client)
            tell(desk, item.key)
            assert await deliver(root) == 0
            desk.clock.forward(BACK_OFF[0])
            assert await deliver(root) == 1
    assert [method for method, _ in plane.made] == ["POST", "POST"]
    assert [comment.html for comment in desk.sandbox.card(item.key).comments] == ["<p>Hello</p>"]


@pytest.mark.parametrize(
    ("fault", "pause_s", "said"),
    [
        (answer(429, {"error_code": 5900}, {"Retry-After": "59"}), 59, "429"),
        (answer(429, {"error_code": 5900}, {"Retry-After": "0"}), BACK_OFF[0], "429"),
        (answer(500), BACK_OFF[0], "500"),
        (page(502), BACK_OFF[0], "502"),
        (page(200), BACK_OFF[0], "something else than JSON"),
        (drop(), BACK_OFF[0], "ReadError"),
        (cut({"id": "1" * 100}, status=201), BACK_OFF[0], "ReadError"),
    ],
)
async def test_a_plane_that_is_not_available_is_tried_again_when_it_says_or_after_the_pause(
    desk: Desk, fault: Fault, pause_s: float, said: str
) -> None:
    with faulty_server([fault]) as plane:
        async with PlaneClient(plane.url, desk.settings.plane_workspace, desk.settings.plane_token) as client:
            root = replace(desk.root, tracker=client)
            tell(desk, desk.item().key)
            assert await deliver(root) == 0
            desk.clock.forward(pause_s - 0.5)
            assert await deliver(root) == 0
            assert len(plane.requests) == 1
            desk.clock.forward(0.5)
            await deliver(root)
            assert len(plane.requests) == 2
    [waiting] = desk.letters
    assert said in waiting.last_error


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"detail": "Authentication credentials were not provided."}),
        (403, {"detail": "Given API token is not valid"}),
        (404, {"error": "The requested resource does not exist."}),
        (422, {"error": "comment_html: too long"}),
    ],
)
async def test_a_comment_that_plane_refuses_is_dealt_with_after_one_try_and_says_why(
    desk: Desk, status: int, body: object
) -> None:
    with faulty_server([answer(status, body, {"Location": "/elsewhere"})]) as plane:
        async with PlaneClient(plane.url, desk.settings.plane_workspace, desk.settings.plane_token) as client:
            root = replace(desk.root, tracker=client)
            tell(desk, desk.item().key)
            await deliver(root)
            desk.clock.forward(3600)
            await deliver(root)
    assert len(plane.requests) == 1
    [letter] = desk.letters
    assert letter.last_error.startswith("refused: Plane refused POST ")
    assert str(status) in letter.last_error
    assert desk.settings.plane_token.get_secret_value() not in letter.last_error


# --- messages: Telegram knows no identity, so a second one is there twice


async def test_a_message_whose_answer_is_long_in_coming_is_not_sent_again_and_again(
    sandbox: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.clients.telegram.PATIENCE_S", 0.3)
    async with open_desk(sandbox, tmp_path) as desk:
        before = len(sandbox.state().telegram.messages)
        desk.store.write(reactions.say, desk.item().key, "Hello", "once", desk.clock.now)
        sandbox.hang("telegram", 1, after=True)
        assert await deliver(desk.root) == 0
        sandbox.clear_faults()
        for _ in range(9):
            desk.clock.forward(60)
            assert await deliver(desk.root) == 0
        assert len(sandbox.state().telegram.messages) == before + 1
        desk.clock.forward(60)
        assert await deliver(desk.root) == 1


async def test_a_message_that_could_not_be_sent_at_all_is_tried_again_soon(desk: Desk) -> None:
    desk.store.write(reactions.say, desk.item().key, "Hello", "once", desk.clock.now)
    desk.sandbox.fail_next("telegram", 1, status=502)
    assert await deliver(desk.root) == 0
    desk.clock.forward(BACK_OFF[0])
    assert await deliver(desk.root) == 1


async def test_a_tick_which_may_be_cut_off_sends_nothing_that_would_be_there_twice(desk: Desk) -> None:
    item = desk.item()
    tell(desk, item.key)
    desk.store.write(reactions.say, item.key, "Hello", "once", desk.clock.now)
    desk.store.write(outbox.live_card, item.key, desk.clock.now)
    desk.clock.forward(outbox.CARD_PAUSE.total_seconds())
    assert await reconcile._letters(desk.root) == ["1 letters sent"]
    assert {row.kind for row in desk.letters if row.sent_at is None} == set(outbox.ONCE)
