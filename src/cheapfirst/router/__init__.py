"""The library's front door: `Router` (synchronous) and `AsyncRouter`, with run, stream, batch and explain."""

from cheapfirst.router.asynchronous import AsyncRouter, AsyncStream
from cheapfirst.router.synchronous import Router, Stream

__all__ = ["AsyncRouter", "AsyncStream", "Router", "Stream"]
