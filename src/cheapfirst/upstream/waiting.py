"""Waits for the network within a call's time limits, and names what goes wrong there."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TypeVar

from cheapfirst.messages import Fault
from cheapfirst.upstream import faults
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed

T = TypeVar("T")


async def within(clock: Clock, awaitable: Awaitable[T], *, host: str, answering: bool) -> T:
    """Await one network operation until the clock's first limit runs out.

    `answering` says whether the answer's headers have come. Raises Failed, and CancelledError as it is.
    """
    import asyncio

    import aiohttp

    seconds, limit = clock.next()
    try:
        async with asyncio.timeout(seconds) as scope:
            return await awaitable
    except (aiohttp.ClientError, OSError, EOFError, RuntimeError, ValueError) as error:
        # TimeoutError, ours included, is an OSError.
        fault = faults.make(limit) if scope.expired() else _fault(error, host, answering=answering)
    raise Failed(fault)


def _fault(error: Exception, host: str, *, answering: bool) -> Fault:
    """Name an error of the HTTP client. Its own text is not used: it may quote headers or addresses with secrets."""
    import aiohttp

    if isinstance(error, aiohttp.ServerTimeoutError):
        return faults.make("connect_timeout", note=host)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return faults.make("tls", note=host)
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        reason = os.strerror(number) if number is not None and number > 0 else error.os_error.strerror
        return faults.make("connect", note=f"{host}: {reason}" if reason else host)
    if isinstance(error, aiohttp.ClientResponseError):
        return faults.make("malformed", note=host)
    if not answering and isinstance(error, ValueError | aiohttp.NonHttpUrlClientError):
        return faults.make("unsendable")
    return faults.make("cut_stream" if answering else "no_response", note=host)
