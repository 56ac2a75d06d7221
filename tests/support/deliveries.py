"""Deliveries of Plane and Gitea, handed in at a desk as the receiver does it."""

from pipeline.inbound.gitea import parse_gitea
from pipeline.inbound.plane import parse_plane
from tasks.inbox import Own, Received, receive
from tests.support.hooks import gitea_headers, plane_headers
from tests.support.services import Desk

OWN = Own(frozenset({"bot-id"}), "orch-bot")


def plane_says(desk: Desk, body: bytes, own: Own | None = OWN) -> Received:
    secret = desk.settings.plane_webhook_secret.get_secret_value()
    return receive(desk.root, parse_plane(plane_headers(desk.settings, body), body, secret), body.decode(), own)


def gitea_says(desk: Desk, body: bytes, event: str = "status") -> Received:
    secret = desk.settings.gitea_webhook_secret.get_secret_value()
    return receive(desk.root, parse_gitea(gitea_headers(desk.settings, body, event), body, secret), body.decode(), OWN)
