"""The running Orch's Prefect server, and the blocks that it reaches its tracker and its agent by."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.prefect_server import PrefectServer, auth_string, their_url
from pipeline.errors import Refused, SettingsError, Unavailable
from pipeline.settings import Settings
from tasks.services import BLOCK

B = TypeVar("B", bound=Block)


@dataclass(frozen=True, slots=True)
class PrefectAddress:
    """Where the Prefect server is, and its secret; an empty one for a server without authentication."""

    url: str
    auth: str = field(repr=False)


def prefect_address(settings: Settings) -> PrefectAddress:
    """The server that `orch up` uses with these settings: the user's own, else the one that it starts.

    Raises `SettingsError` for a malformed address, and when the started one's secret is not there; none is made.
    """
    theirs = their_url()
    if theirs:
        return PrefectAddress(theirs, os.environ.get("PREFECT_API_AUTH_STRING", ""))
    secret = settings.state_dir / "prefect-auth"
    if not secret.is_file():
        raise SettingsError(
            f"There is no {secret}, so no Prefect server was started with these settings: start `orch up`, or correct"
            " ORCH_STATE_DIR or PREFECT_API_URL here."
        )
    server = PrefectServer(settings.state_dir / "prefect", settings.prefect_port, auth_string(secret))
    return PrefectAddress(server.url, server.auth)


@asynccontextmanager
async def prefect_client(settings: Settings) -> AsyncIterator[PrefectClient]:
    """A client of that server, which blocks loaded in the body use too. Raises `Unavailable` or `Refused`."""
    where = prefect_address(settings)
    with temporary_settings({PREFECT_API_URL: where.url, PREFECT_API_AUTH_STRING: where.auth or None}):
        try:
            async with get_client() as client:
                yield client
        except httpx.TransportError as error:
            raise Unavailable(
                f"The Prefect server at {where.url} does not answer ({type(error).__name__}): start `orch up`, or"
                " correct PREFECT_API_URL or ORCH_PREFECT_PORT here."
            ) from error
        except PrefectHTTPStatusError as error:
            status = error.response.status_code
            raise Refused(
                f"The Prefect server at {where.url} answers {status}: correct PREFECT_API_AUTH_STRING or ORCH_STATE_DIR"
                " here, and see prefect.log in the state folder.",
                status=status,
            ) from error


async def block(kind: type[B]) -> B:
    """Orch's block of a kind, within `prefect_client`. Raises `Refused` when there is none."""
    try:
        found: B = await kind.aload(BLOCK)
    except ValueError as error:  # what Prefect raises for a document that does not exist
        raise Refused(
            f"Prefect has no block {kind.get_block_type_slug()}/{BLOCK}: start `orch up` again, which makes it."
        ) from error
    return found
