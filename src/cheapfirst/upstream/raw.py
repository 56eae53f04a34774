"""Makes one call to the upstream whose body and answer nobody here understands: bytes out, bytes back as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

from cheapfirst.policy.table import Timeouts
from cheapfirst.upstream import faults, trouble
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed

if TYPE_CHECKING:
    from cheapfirst.upstream.client import Upstream
    from cheapfirst.upstream.http1 import Connection


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
        own = {**headers, **upstream._headers, "User-Agent": "cheapfirst"}
        if upstream._secrets:
            own["Authorization"] = f"Bearer {upstream._secrets[0]}"
        if "accept-encoding" not in headers:
            own["Accept-Encoding"] = "gzip, deflate"
        response = await upstream._exchange(method, target, content, own, timeouts.connect, clock)
        try:
            await upstream._answered(response)
            if 300 <= response.status < 400:
                raise Failed(faults.make("redirect", status=response.status))
            yield Raw(response.status, response.headers, _pieces(response, clock, upstream._host))
        finally:
            response.end()
    finally:
        upstream._slots.give()


async def _pieces(response: Connection, clock: Clock, host: str) -> AsyncGenerator[bytes, None]:
    while True:
        clock.listen()
        try:
            data = await response.read()
        except Exception as error:  # noqa: BLE001 - named there
            raise trouble.failed(error, host, answering=True) from None
        if not data:
            return
        yield data
