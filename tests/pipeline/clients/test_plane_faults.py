"""What a caller of the Plane client sees of a Plane that misbehaves: one typed exception, nothing half read or doubled."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from pipeline.clients import http
from pipeline.clients.plane import PlaneClient
from pipeline.errors import InDoubt, Missing, Refused, Unavailable
from pipeline.projects import Project
from pipeline.states import States
from tests.support.faulty import FaultyServer, Step, answer, cut, drop, faulty_server, gigantic, hang, page, redirect

KEY = "plane_api_very_secret"
PAGE = {"results": [{"id": "a", "name": "Todo", "group": "unstarted"}], "next_cursor": "1:1:0"}
MORE, LAST = PAGE | {"next_page_results": True}, PAGE | {"next_page_results": False}


@asynccontextmanager
async def plane_with(*script: Step, voices: Sequence[str] = ()) -> AsyncIterator[tuple[PlaneClient, FaultyServer]]:
    bots = {voice: SecretStr(f"{KEY}_{voice}") for voice in voices}
    with faulty_server(script) as server:
        async with PlaneClient(server.url, "acme", SecretStr(KEY), voices=bots) as client:
            yield client, server


FAULTS: dict[str, tuple[Step, type[Refused] | type[Unavailable], int | None, str]] = {
    "no key": (answer(401, {"detail": "Authentication credentials were not provided."}), Refused, 401, "credentials"),
    "bad key": (answer(403, {"detail": f"Given API token {KEY} is not valid"}), Refused, 403, "token *** is not valid"),
    "missing": (answer(404, {"error": "The requested resource does not exist."}), Missing, 404, "does not exist"),
    "conflict": (answer(409, {"error": "taken", "id": "7"}), Refused, 409, "409 taken"),
    "unprocessable": (answer(422, {"name": ["too long"]}), Refused, 422, "too long"),
    "too many": (answer(429, {"error_message": "RATE_LIMIT"}, {"Retry-After": "9"}), Unavailable, 429, "RATE_LIMIT"),
    "crash": (page(500, "<h1>Server Error (500)</h1>"), Unavailable, 500, "Server Error"),
    "time-out": (hang(), InDoubt, None, "has not answered"),
    "reset": (drop(), Unavailable, None, "ReadError"),
    "reset in the body": (cut(LAST), Unavailable, None, "ReadError"),
    "redirect": (redirect("http://127.0.0.1:1/login"), Unavailable, 301, "redirects"),
    "missing, says a proxy": (page(404), Unavailable, 404, "something else than JSON"),
    "forbidden, says a proxy": (page(403), Unavailable, 403, "something else than JSON"),
    "HTML": (page(200), Unavailable, 200, "something else than JSON"),
    "gigantic": (gigantic(), Unavailable, 200, "is larger than"),
    "a list": (answer(200, []), Unavailable, 200, "not as expected"),
    "wrong types": (answer(200, {"results": [{"id": 7, "name": None}]}), Unavailable, 200, "results.0.id"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_one_typed_exception_after_one_request(
    monkeypatch: pytest.MonkeyPatch, project: Project, name: str
) -> None:
    step, kind, status, text = FAULTS[name]
    monkeypatch.setattr(http, "LARGEST_ANSWER", 65536)
    if name == "time-out":
        monkeypatch.setattr(http, "READ_TIMEOUT_S", 0.2)
    async with plane_with(step) as (plane, server):
        with pytest.raises(kind) as raised:
            await plane.states(project)
    assert type(raised.value) is kind
    assert (raised.value.status, len(server.requests)) == (status, 1)
    assert raised.value.path == f"workspaces/acme/projects/{project.plane_project}/states/"
    assert text in str(raised.value)
    assert KEY not in f"{raised.value!r} {raised.value.__cause__!r}"


@pytest.mark.parametrize("fault", [answer(500), cut(LAST), drop(), page(200)], ids=["500", "cut", "drop", "HTML"])
async def test_a_list_that_breaks_off_is_no_shorter_list(project: Project, fault: Step) -> None:
    async with plane_with(answer(200, MORE), fault, answer(200, LAST)) as (plane, server):
        with pytest.raises(Unavailable):
            await plane.states(project)
        assert len(server.requests) == 2


@pytest.mark.parametrize("fault", [answer(500), answer(429), page(200), answer(403, {"detail": "no"}), drop()])
async def test_a_fault_is_not_taken_for_an_older_plane(project: Project, fault: Step) -> None:
    async with plane_with(fault) as (plane, server):
        with pytest.raises((Unavailable, Refused)):
            await plane.item(project, "i")
        assert ["work-items" in path for _, path in server.made] == [True]


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("time-out", "gigantic")])
async def test_whatever_happens_states_that_were_known_stay_known(project: Project, name: str) -> None:
    async with plane_with(answer(200, LAST), FAULTS[name][0]) as (plane, _):
        seconds = iter((0.0, 1000.0, 1000.0))
        states = States(plane, ttl_s=300, clock=lambda: next(seconds))
        first = await states.of(project)
        assert await states.of(project) is first


async def test_a_bot_whose_id_cannot_be_told_now_keeps_us_from_judging_who_speaks() -> None:
    """A bot that was left out would be taken for a person; one whose key is refused can say nothing."""
    me = answer(200, {"id": "shared"})
    async with plane_with(me, answer(500), voices=["stream"]) as (plane, _):
        with pytest.raises(Unavailable):
            await plane.own_ids()
    async with plane_with(me, answer(403, {"detail": "no"}), voices=["stream"]) as (plane, _):
        assert await plane.own_ids() == {"shared"}
