"""Faults on request: what fails, hangs, gets lost, doubled, late or out of order."""

import threading

import httpx
import pytest

from deployments.sandbox.client import SandboxClient, SandboxError
from tests.deployments.sandbox.receiver import Receiver

SECRET = "s"


def me(sandbox: SandboxClient, *, timeout: float = 5) -> httpx.Response:
    headers = {"X-API-Key": sandbox.options.plane_bot_token}
    return httpx.get(f"{sandbox.plane_url}/api/v1/users/me/", headers=headers, timeout=timeout, trust_env=False)


def titles(receiver: Receiver, n: int) -> list[str]:
    return [one.body["data"]["name"] for one in receiver.wait_count(n)]


def test_the_next_requests_fail_and_then_all_is_well(sandbox: SandboxClient) -> None:
    sandbox.fail_next("plane", 2, status=502, body="<html>Bad gateway</html>")
    assert [me(sandbox).status_code for _ in range(3)] == [502, 502, 200]


def test_a_fault_may_be_for_some_calls_only(sandbox: SandboxClient) -> None:
    sandbox.fail_next("gitea", match="POST /api/v1/repos", status=503, headers={"Retry-After": "1"})
    with sandbox.gitea_api() as api:
        assert api.get("/repos/acme/shop").status_code == 200
        failed = api.post("/repos/acme/shop/branches", json={"new_branch_name": "x"})
    assert (failed.status_code, failed.headers["retry-after"]) == (503, "1")


def test_a_lost_answer_hides_a_call_that_was_carried_out(sandbox: SandboxClient) -> None:
    sandbox.fail_next("gitea", status=500, match="POST", after=True)
    with sandbox.gitea_api() as api:
        assert api.post("/repos/acme/shop/branches", json={"new_branch_name": "made"}).status_code == 500
    assert "made" in sandbox.repository().branches


def test_a_hanging_peer_lets_go_when_the_faults_are_cleared(sandbox: SandboxClient) -> None:
    sandbox.hang("plane", 2)
    with pytest.raises(httpx.ReadTimeout):
        me(sandbox, timeout=0.2)
    threading.Timer(0.2, sandbox.clear_faults).start()
    assert me(sandbox, timeout=10).status_code == 503
    assert me(sandbox).status_code == 200


def test_a_slow_peer_still_answers(sandbox: SandboxClient) -> None:
    sandbox.delay("plane", 0.05, 1)
    assert me(sandbox).status_code == 200


def test_requests_are_counted_by_peer_and_by_kind_of_call(sandbox: SandboxClient) -> None:
    key = sandbox.create_card("A card")
    with sandbox.plane_api() as api:
        api.get(f"/work-items/{key}/")
        api.get(f"/work-items/{key}/")
    state = sandbox.state()
    assert state.requests == {"plane": 2}
    assert state.calls == {"plane GET /api/v1/workspaces/acme/work-items/{key}/": 2}


def test_dropped_webhooks_never_come(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.plane_webhook(receiver.url, SECRET)
    sandbox.drop_webhooks(1)
    sandbox.create_card("lost")
    sandbox.create_card("sent")
    assert titles(receiver, 1) == ["sent"]
    assert [one.outcome for one in sandbox.state().deliveries] == ["dropped", "200"]


def test_everything_is_dropped_until_it_is_not(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.plane_webhook(receiver.url, SECRET)
    sandbox.drop_all_webhooks()
    sandbox.create_card("one")
    sandbox.create_card("two")
    sandbox.wait_until(lambda state: len(state.deliveries) == 2)
    sandbox.drop_all_webhooks(False)
    sandbox.create_card("three")
    assert titles(receiver, 1) == ["three"]


def test_a_doubled_webhook_has_the_same_body_and_another_delivery_id(
    sandbox: SandboxClient, receiver: Receiver
) -> None:
    sandbox.plane_webhook(receiver.url, SECRET)
    sandbox.duplicate_webhooks(1, peer="plane")
    sandbox.create_card("twice")
    first, second = receiver.wait_count(2)
    assert first.raw == second.raw
    assert first.header("X-Plane-Delivery") != second.header("X-Plane-Delivery")


def test_held_webhooks_come_in_reverse(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.plane_webhook(receiver.url, SECRET)
    sandbox.reorder_webhooks(2)
    for title in ("first", "second", "third"):
        sandbox.create_card(title)
    assert sorted(titles(receiver, 3)) == ["first", "second", "third"]
    order = titles(receiver, 3)
    assert order.index("second") < order.index("first")


def test_a_late_plane_webhook_carries_what_is_true_when_it_is_sent(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.plane_webhook(receiver.url, SECRET)
    key = sandbox.create_card("A card")
    receiver.wait_count(1)
    sandbox.delay_webhooks(1, 0.3)
    sandbox.move_card(key, "Approved", who="api")
    sandbox.move_card(key, "Done", who="api")
    late = receiver.wait_count(3)[2].body
    approved = sandbox.state().project("SHOP").states["Approved"]
    assert late["activity"]["new_value"] == approved
    assert late["data"]["state"]["name"] == "Done"


def test_plane_tries_again_after_a_transport_error_with_the_same_body(sandbox: SandboxClient) -> None:
    gone = Receiver()
    gone.close()
    sandbox.plane_webhook(gone.url, SECRET)
    sandbox.create_card("unheard")
    state = sandbox.wait_until(lambda seen: len(seen.deliveries) == 3)
    assert [one.outcome for one in state.deliveries] == ["ConnectError"] * 3


def test_an_http_error_is_never_tried_again(sandbox: SandboxClient, receiver: Receiver) -> None:
    receiver.answers = [500]
    sandbox.plane_webhook(receiver.url, SECRET)
    sandbox.create_card("lost")
    sandbox.create_card("sent")
    assert titles(receiver, 2) == ["lost", "sent"]
    assert [one.outcome for one in sandbox.state().deliveries] == ["500", "200"]


def test_without_a_secret_the_signature_is_there_and_empty(sandbox: SandboxClient, receiver: Receiver) -> None:
    sandbox.gitea_webhook(receiver.url, "")
    sandbox.commit("task/x", {"x.txt": "x\n"})
    assert receiver.wait_count(1)[0].header("X-Gitea-Signature") == ""


def test_an_unknown_fault_is_refused(sandbox: SandboxClient) -> None:
    with pytest.raises(SandboxError, match="There is no fault"):
        sandbox._fault("explode")
