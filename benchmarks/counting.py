"""Counts HTTP requests by where they go."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx


@contextmanager
def counted_requests(names: Mapping[str, str]) -> Iterator[Counter[str]]:
    """Count this process's asynchronous HTTP requests while the body runs, by the name of the longest address.

    `names` gives a name to each address that requests begin with; others are counted as `other`.
    """
    counts: Counter[str] = Counter()
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def counting(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        fitting = [address for address in names if str(request.url).startswith(address)]
        counts[names[max(fitting, key=len)] if fitting else "other"] += 1
        return await send(transport, request)

    httpx.AsyncHTTPTransport.handle_async_request = counting  # type: ignore[assignment, method-assign]  # put back below
    try:
        yield counts
    finally:
        httpx.AsyncHTTPTransport.handle_async_request = send  # type: ignore[method-assign]
