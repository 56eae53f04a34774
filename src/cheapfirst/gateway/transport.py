"""HTTP clients for the `openai` SDK that need no server: requests run through the gateway inside this process.

OpenAI(http_client=cheapfirst.http_client("cheapfirst.toml"), api_key="cheapfirst")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from cheapfirst.errors import GatewayError
from cheapfirst.gateway.app import Gateway
from cheapfirst.policy import Policy

_T = TypeVar("_T")
_AHEAD = 16  # pieces of an answer that may wait for a slow reader


def http_client(policy: str | Path | Policy | None = None, **options: Any) -> Any:
    """Return a client for `OpenAI(http_client=...)`; its host does not matter, its timeouts are the policy's.

    Args are those of `cheapfirst.gateway.app`. Closing the client brings the ledger up to date. Raises PolicyError, and
    GatewayError when there is neither openai nor httpx.
    """
    library = _library()
    return library.Client(transport=_Transport(library, Gateway(policy, **options)))


def async_http_client(policy: str | Path | Policy | None = None, **options: Any) -> Any:
    """Return a client for `AsyncOpenAI(http_client=...)`, as `http_client` does. It belongs to one event loop."""
    library = _library()
    return library.AsyncClient(transport=_AsyncTransport(library, Gateway(policy, **options)))


class _Exchange:
    """One request on its way through the gateway."""

    def __init__(self, gateway: Gateway, request: Any, body: bytes) -> None:
        path = request.url.path
        where = path.find("/v1/")
        path = path[where:] if where > 0 else path
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": request.url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 80),
        }
        self._gateway = gateway
        self._body: bytes | None = body
        self._came: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Begin; return status and headers."""
        self._task = asyncio.ensure_future(self._run())
        try:
            message = await self._came.get()
        except asyncio.CancelledError:
            self.leave()
            raise
        if isinstance(message, BaseException):
            raise message
        return message["status"], list(message["headers"])

    async def more(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        while True:
            message = await self._came.get()
            if isinstance(message, BaseException):
                raise message
            if message is None:
                return None
            if message.get("body"):
                return bytes(message["body"])

    def leave(self) -> None:
        """Hang up: what runs for this request is ended as for any client that leaves."""
        self._gone.set()
        while not self._came.empty():
            self._came.get_nowait()

    async def _run(self) -> None:
        last: Any = None
        try:
            await self._gateway(self._scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            last = error
        if not self._gone.is_set():
            await self._came.put(last)

    async def _receive(self) -> Any:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if not self._gone.is_set():
            await self._came.put(message)


class _AsyncTransport:
    def __init__(self, library: Any, gateway: Gateway) -> None:
        self._library, self._gateway = library, gateway
        self._stream = type("_Stream", (_AsyncBody, library.AsyncByteStream), {})

    async def handle_async_request(self, request: Any) -> Any:
        exchange = _Exchange(self._gateway, request, await request.aread())
        status, headers = await exchange.start()
        return self._library.Response(status, headers=headers, stream=self._stream(exchange))

    async def aclose(self) -> None:
        await self._gateway.aclose()

    async def __aenter__(self) -> _AsyncTransport:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class _AsyncBody:
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._exchange.more()) is not None:
            yield piece

    async def aclose(self) -> None:
        self._exchange.leave()


class _Transport:
    """The gateway on an event loop of its own, in a thread that ends with the client."""

    def __init__(self, library: Any, gateway: Gateway) -> None:
        self._library, self._gateway = library, gateway
        self._stream = type("_Stream", (_Body, library.SyncByteStream), {})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cheapfirst-transport", daemon=True)
        self._thread.start()

    def handle_request(self, request: Any) -> Any:
        exchange = self.run(self._made(request, request.read()))
        status, headers = self.run(exchange.start())
        return self._library.Response(status, headers=headers, stream=self._stream(self, exchange))

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        if self._loop.is_closed():
            return
        try:
            self.run(self._end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        """End what still runs, so that no thread waits for it for ever, then the gateway."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._gateway.aclose()

    async def _made(self, request: Any, body: bytes) -> _Exchange:
        return _Exchange(self._gateway, request, body)

    def leave(self, exchange: _Exchange) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(exchange.leave)

    def __enter__(self) -> _Transport:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Body:
    def __init__(self, transport: _Transport, exchange: _Exchange) -> None:
        self._transport, self._exchange = transport, exchange

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._transport.run(self._exchange.more())) is not None:
            yield piece

    def close(self) -> None:
        self._transport.leave(self._exchange)


def _library() -> Any:
    """The HTTP library that the installed openai is built on; without openai, httpx."""
    try:
        openai = import_module("openai")
    except ImportError:
        try:
            return import_module("httpx")
        except ImportError:
            raise GatewayError("cheapfirst.http_client() is for the openai SDK: pip install openai") from None
    for base in openai.DefaultHttpxClient.__mro__:
        home = base.__module__.partition(".")[0]
        if home.startswith("httpx"):
            return import_module(home)
    raise GatewayError("the installed openai is built on an HTTP library that cheapfirst does not know")
