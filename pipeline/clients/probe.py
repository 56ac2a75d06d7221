"""Asks a running service whether it is healthy and which revision it runs, by HTTP or by a command.

Degraded is a word about the service. What says more about the probe (a wrong address, a missing command, a name that
cannot be resolved) is inconclusive: no deploy is judged by it.
"""

import asyncio
import errno
import socket
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from pipeline.clients.deploy_guard import revision_of_answer, revision_of_output
from pipeline.clients.hooks import hook_environment, meaning
from pipeline.clients.http import certificates
from pipeline.clients.logs import end_of, last_line, readable
from pipeline.clients.process import ProcessEnd, run
from pipeline.errors import CouldNotRun
from pipeline.model import Health, HookEnd, Probed
from pipeline.projects import Probe

READ_BYTES = 65_536
_OF_A_COMMAND = {
    HookEnd.DONE: Health.HEALTHY,
    HookEnd.REFUSED: Health.DEGRADED,
    HookEnd.COULD_NOT_RUN: Health.INCONCLUSIVE,
}


async def probe(how: Probe, *, timeout_s: float, cwd: Path, home: Path, facts: Mapping[str, str]) -> Probed:
    """One look, `timeout_s` at most; longer is degraded. Nothing is raised for what the service or the probe does.

    A command sees the allow-listed environment, HOME `home` (made if need be) and `facts`, and runs in `cwd`. Over HTTP
    nothing of our environment (proxies, `.netrc`) is used, no redirect followed, and 64 KiB read.
    """
    if not how:
        return Probed(Health.INCONCLUSIVE, None, "no probe is configured")
    if isinstance(how, str):
        return await _fetch(how, timeout_s)
    return await _ask_command(how, timeout_s, cwd, hook_environment(home, facts))


async def _ask_command(command: tuple[str, ...], timeout_s: float, cwd: Path, environment: dict[str, str]) -> Probed:
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        log = Path(folder) / "log"
        try:
            ended = await run(command, cwd=cwd, environment=environment, log=log, timeout_s=timeout_s)
        except CouldNotRun as error:
            return Probed(Health.INCONCLUSIVE, None, str(error))
        output = readable(end_of(log, READ_BYTES))
    if ended.reason is not ProcessEnd.FINISHED:
        return Probed(Health.DEGRADED, None, f"the probe command did not answer within {timeout_s:g} s")
    health = _OF_A_COMMAND[meaning(ended)]
    if health is Health.HEALTHY:
        return _healthy(revision_of_output(output), "the probe command")
    last = last_line(output)
    said = f"the probe command ended with exit code {ended.exit_code}"
    return Probed(health, None, f"{said}: {last}" if last else said)


async def _fetch(address: str, timeout_s: float) -> Probed:
    where = _shown(address)
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(trust_env=False, timeout=timeout_s, verify=certificates(trust_env=False)) as client,
            # Uncompressed, so that the limit on what is read limits what is held.
            client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            return _judged(answer, await _beginning(answer), where)
    except (
        httpx.InvalidURL,
        httpx.UnsupportedProtocol,
        httpx.LocalProtocolError,
        ExceptionGroup,
        UnicodeError,
    ) as error:
        # The group is anyio's, about a port number that is none.
        return Probed(Health.INCONCLUSIVE, None, f"{where} is no address that can be asked: {error}")
    except (TimeoutError, httpx.TimeoutException):
        return Probed(Health.DEGRADED, None, f"{where} did not answer within {timeout_s:g} s")
    except httpx.HTTPError as error:
        return _unreached(error, where)


async def _beginning(answer: httpx.Response) -> bytes:
    body = b""
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) >= READ_BYTES:
            break
    return body[:READ_BYTES]


def _judged(answer: httpx.Response, body: bytes, where: str) -> Probed:
    if answer.status_code == 200:
        return _healthy(revision_of_answer(body, answer.headers.get("X-Revision")), where)
    said = f"{where} answered {answer.status_code}"
    if answer.status_code >= 500:
        return Probed(Health.DEGRADED, None, said)
    return Probed(Health.INCONCLUSIVE, None, f"{said} where 200 is expected; correct the probe's address")


def _healthy(revision: str | None, where: str) -> Probed:
    return Probed(Health.HEALTHY, revision, f"{where} is healthy and tells {_told(revision)}")


def _told(revision: str | None) -> str:
    return f"revision {revision[:12]}" if revision else "no revision"


def _unreached(error: httpx.HTTPError, where: str) -> Probed:
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Probed(Health.INCONCLUSIVE, None, f"the name in {where} cannot be resolved")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Probed(Health.INCONCLUSIVE, None, f"{where} cannot be trusted: {error}")
    if any(isinstance(cause, OSError) and cause.errno == errno.ENETUNREACH for cause in causes):
        return Probed(Health.INCONCLUSIVE, None, f"there is no network to {where}")
    return Probed(Health.DEGRADED, None, f"{where} cannot be reached: {str(error) or type(error).__name__}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and all that it was made of."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _causes(part)
        error = error.__cause__ or error.__context__


def _shown(address: str) -> str:
    """The address without name, password and query, which may be secrets."""
    try:
        return str(httpx.URL(address).copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx.InvalidURL, UnicodeError):
        return "the probe's address"
