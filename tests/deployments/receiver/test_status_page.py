"""The page for people at `/`: what stands where and why, nothing that could do harm, and no secret."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import httpx
import pytest
from pydantic import SecretStr

from deployments.receiver import status_page
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from pipeline.store import counters, freezes, heartbeats, items, reactions
from pipeline.store.tables import WorkItemRow
from tests.pipeline.store.helpers import claimed
from tests.support.services import Desk

HOSTILE = "<script>alert('x')</script> \" onmouseover=\"alert(1)"
RUN = "0198c0de-0000-4000-8000-000000000001"


class Seen(HTMLParser):
    """What a browser would make of a page: its tags, and the addresses that they name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    @property
    def links(self) -> list[str]:
        return [value or "" for name, value in self.attributes if name == "href"]


@pytest.fixture(autouse=True)
def _made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_page, "FRESH_S", 0)


async def page(door: httpx.AsyncClient, host: str = "127.0.0.1:8270") -> str:
    answer = await door.get("/", headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return answer.text


def text_of(told: str) -> str:
    """The page as it reads, its lines joined."""
    return " ".join(re.sub(r"<[^>]*>", " ", told).split())


async def test_it_shows_what_stands_where_why_and_who_moves_it(door: httpx.AsyncClient, desk: Desk) -> None:
    asking, held, stopping = desk.item(), desk.item(Stage.TESTING), desk.item(Stage.REVIEW)
    desk.asks(asking, WaitKind.APPROVAL)
    desk.store.write(items.hold, held.id, Hold.BLOCKED, "The repository is gone.", desk.clock.now)
    desk.store.write(reactions.request_stop, stopping, desk.clock.now)
    desk.store.write(freezes.freeze, "SHOP", actor="ada", why="release day", now=desk.clock.now)
    desk.store.write(counters.count, counters.DEDUPED, 3)
    desk.clock.forward(7200)
    told = text_of(await page(door))
    for said in (
        f"{asking.key} Print a receipt", "A person: waits for approval", f"orch approve {asking.key}",
        "blocked A person, to mend what blocks it: The repository is gone.", f"orch retry {held.key}",
        "being stopped Its stop.", "(2 h)", "SHOP is frozen by ada", "deduped 3", "(1 held)",
        "agent stages at once 2", "who merges in SHOP (merge-SHOP) nobody", "autoApprove approves an analysis",
    ):  # fmt: skip
        assert said in told
    assert told.index(held.key) < told.index(asking.key)


async def test_the_late_reconciler_is_said_and_the_timely_one_is_not(door: httpx.AsyncClient, desk: Desk) -> None:
    assert "last ran never; it is late" in text_of(await page(door))
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now)
    assert "it is late" not in text_of(await page(door))


async def test_what_people_and_agents_wrote_is_text_and_nothing_else(door: httpx.AsyncClient, desk: Desk) -> None:
    item = desk.item(card=desk.card(HOSTILE))
    desk.store.write(items.hold, item.id, Hold.BLOCKED, HOSTILE, desk.clock.now)
    desk.store.write(freezes.freeze, "SHOP", actor=HOSTILE, why=HOSTILE, now=desk.clock.now)
    seen = Seen(told := await page(door))
    assert "script" not in seen.tags
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert "&lt;script&gt;" in told


async def test_nothing_is_loaded_run_or_framed(door: httpx.AsyncClient) -> None:
    answer = await door.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
    seen = Seen(answer.text)
    assert not {"script", "img", "iframe", "form", "link", "object"} & set(seen.tags)
    assert ("http-equiv", "refresh") in seen.attributes
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


async def test_whoever_sits_at_the_machine_gets_its_addresses_as_links_and_nobody_else(
    door: httpx.AsyncClient, desk: Desk
) -> None:
    item = desk.item(Stage.REVIEW, pull_number=7)
    claimed(desk.store, item, run=RUN, now=desk.clock.now)
    here = Seen(await page(door)).links
    assert [link for link in here if link.endswith(f"/browse/{item.key}/")]
    assert [link for link in here if link.endswith("/acme/shop/pulls/7")]
    assert [link for link in here if link.endswith(f"/runs/flow-run/{RUN}")]
    assert Seen(await page(door, "orch.example.org")).links == ["queue", "metrics"]


async def test_neither_the_page_nor_the_queue_has_a_secret_or_asks_for_one(door: httpx.AsyncClient, desk: Desk) -> None:
    desk.asks(desk.item(), WaitKind.APPROVAL)
    settings = desk.settings
    secrets = [getattr(settings, name) for name in type(settings).model_fields]
    values = [s.get_secret_value() for s in secrets if isinstance(s, SecretStr) and s.get_secret_value()]
    assert values
    for told in (await page(door), (await door.get("/queue")).text):
        assert [value for value in values if value in told] == []


async def test_of_many_items_the_held_ones_come_first_and_the_rest_is_counted(
    door: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_page, "SHOWN", 2)
    found = [desk.item() for _ in range(4)]
    desk.store.write(items.hold, found[-1].id, Hold.ESCALATED, "too often", desk.clock.now)
    told = text_of(await page(door))
    assert [item.key in told for item in found] == [True, False, False, True]
    assert "And 2 more" in told


async def test_an_item_of_a_project_that_left_the_registry_is_shown_too(door: httpx.AsyncClient, desk: Desk) -> None:
    item = desk.item()

    def leave(session: object) -> None:
        row = session.get_one(WorkItemRow, item.id)  # type: ignore[attr-defined]
        row.project = "GONE"

    desk.store.write(leave)
    told = text_of(await page(door))
    assert f"GONE not in the registry any more item stage waits for who moves it {item.key}" in told


async def test_many_who_look_are_given_one_page(
    door: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_page, "FRESH_S", 3600)
    first = await page(door)
    item = desk.item()
    assert item.key not in first
    assert await page(door) == first
