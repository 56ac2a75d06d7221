"""Signatures of inbound webhooks, and the digest that tells a delivery from its repetitions."""

import hashlib
import hmac
from collections.abc import Mapping

from pipeline.errors import BadSignature


def header(headers: Mapping[str, str], *names: str) -> str:
    """The value of the first of these headers that is there and not empty, names compared without case; else empty.

    Of a header that comes twice the first counts.
    """
    values = (next((value for key, value in headers.items() if key.lower() == name.lower()), "") for name in names)
    return next((value for value in values if value), "")


def sign(body: bytes, secret: str) -> str:
    """The signature that Plane and Gitea send: lower-case hexadecimal HMAC-SHA256 of the raw body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def check_signature(body: bytes, signature: str, secret: str) -> None:
    """Raise `BadSignature` unless `signature` is that of `body`; compared in constant time.

    An empty signature is refused: Gitea sends empty headers when its hook has no secret (measured on 1.21). So is an
    empty secret of our own, with which anybody could sign.
    """
    if not secret:
        raise BadSignature("No webhook secret is configured here, so no delivery can be trusted; set the secret.")
    if not signature:
        raise BadSignature("The delivery is not signed; set the same secret at the sender's webhook and here.")
    if not hmac.compare_digest(sign(body, secret).encode(), signature.encode(errors="replace")):
        raise BadSignature("The delivery's signature is wrong; the webhook's secret differs from the one set here.")


def check_secret(given: str, secret: str) -> None:
    """Raise `BadSignature` unless a delivery came with our secret; compared in constant time, an empty one refused."""
    if not secret:
        raise BadSignature("No webhook secret is configured here, so no delivery can be trusted; set the secret.")
    if not hmac.compare_digest(given.encode(errors="replace"), secret.encode()):
        raise BadSignature("The delivery is not signed with our secret; set the webhook again with the one set here.")


def digest(source: str, event: str, body: bytes) -> str:
    """Names a delivery by its content, SHA-256 in hexadecimal.

    Not by the sender's delivery id: Plane makes a new one for every attempt, while body and signature of a retry stay
    the same (measured on Community 1.3.1).
    """
    return hashlib.sha256(f"{source}\n{event}\n".encode(errors="replace") + body).hexdigest()
