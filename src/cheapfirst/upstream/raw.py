"""Makes one call to the upstream whose body and answer nobody here understands: bytes out, bytes back as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

from cheapfirst.policy.table import Timeouts
from cheapfirst.upstream import faults
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed
from cheapfirst.upstream.waiting import within

if TYPE_CHECKING:
    import aiohttp

    from cheapfirst.upstream.client import Upstream


class Raw:
    """An answer whose head has come. `headers` have names in lower case; the body comes unpacked."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: AsyncGenerator[bytes, None]) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces  # raises Failed when the answer breaks off


@asynccontextmanager
async def open(
    upstream: Upstream,
    method: str,
    target: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    timeouts: Timeouts,
    budget: float,
) -> AsyncIterator[Raw]:
    """Send a request with the upstream's key and yield its answer; leaving the block ends the call.

    Args:
        target: path and query below the base URL, as they go on the wire; the caller answers for their being safe.
        headers: names in lower case; nothing else of the client's is sent.
        budget: seconds that the call may take in all, waiting for a free slot included.

    Raises Failed, also for a redirect: the key is not sent elsewhere.
    """
    began = monotonic()
    if not (upstream._slots.take() or await upstream._slots.wait(budget)):
        raise Failed(faults.make("upstream_busy", note=upstream._host))
    try:
        clock = Clock(timeouts, budget - (monotonic() - began), streamed=False)
        response = await _request(upstream, method, target, content, headers, timeouts.connect, clock)
        try:
            if 300 <= response.status < 400:
                raise Failed(faults.make("redirect", status=response.status))
            got = {name.lower(): value for name, value in response.headers.items()}
            yield Raw(response.status, got, _pieces(response, clock, upstream._host))
        finally:
            response.close()
    finally:
        upstream._slots.give()


async def _request(
    upstream: Upstream,
    method: str,
    target: str,
    content: bytes,
    headers: Mapping[str, str],
    connect: float,
    clock: Clock,
) -> aiohttp.ClientResponse:
    import aiohttp
    from yarl import URL

    if upstream._closed:
        raise Failed(faults.make("closed"))
    fixed = {**upstream._headers, "User-Agent": "cheapfirst"}
    if upstream._secrets:
        fixed["Authorization"] = f"Bearer {upstream._secrets[0]}"
    try:
        request = upstream._ready().request(
            method,
            URL(upstream._base + target, encoded=True),
            data=content or None,
            headers={**headers, **fixed},
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect),
        )
    except (TypeError, ValueError):
        raise Failed(faults.make("unsendable")) from None
    return await within(clock, request, host=upstream._host, answering=False)


async def _pieces(response: aiohttp.ClientResponse, clock: Clock, host: str) -> AsyncGenerator[bytes, None]:
    while True:
        clock.listen()
        data = await within(clock, response.content.readany(), host=host, answering=True)
        if not data:
            return
        yield data
