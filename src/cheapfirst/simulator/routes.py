"""The simulator's HTTP routes: chat completions, the catalogue, the account, and its own switches."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from aiohttp import web

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire
from cheapfirst.simulator import delivery, exchange, pages, wire
from cheapfirst.simulator.exchange import Ask, Nothing, Refused
from cheapfirst.simulator.failures import Failure, failure, unknown_model
from cheapfirst.simulator.switchboard import EVERY, HEADER

if TYPE_CHECKING:
    from cheapfirst.simulator.server import Simulator

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PREFIXES = ("/api/v1", "/v1")


async def listen(simulator: Simulator, host: str, port: int) -> web.AppRunner:
    """Serve the routes on an address. Raises OSError when it is taken."""
    # Handlers are cancelled when their client leaves: that is how hanging up is noticed and billed.
    runner = web.AppRunner(
        application(simulator), handler_cancellation=True, access_log=None, shutdown_timeout=0.05, handle_signals=False
    )
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    return runner


def application(simulator: Simulator) -> web.Application:
    """All routes as one application."""
    desk = Desk(simulator)
    made = web.Application(client_max_size=simulator.options.body_limit, middlewares=[desk.guard])
    for prefix in _PREFIXES:
        made.router.add_post(f"{prefix}/chat/completions", desk.chat)
        made.router.add_get(f"{prefix}/models", desk.models)
        made.router.add_get(f"{prefix}/model/{{author}}/{{slug}}", desk.model)
        made.router.add_get(f"{prefix}/models/{{author}}/{{slug}}/endpoints", desk.endpoints)
        made.router.add_get(f"{prefix}/generation", desk.generation)
        made.router.add_get(f"{prefix}/activity", desk.activity)
        made.router.add_get(f"{prefix}/key", desk.key)
        made.router.add_get(f"{prefix}/credits", desk.credits)
    made.router.add_get("/_simulator/books", desk.books)
    made.router.add_post("/_simulator/reset", desk.reset)
    made.router.add_get("/_simulator/faults", desk.faults)
    made.router.add_post("/_simulator/faults", desk.switch)
    return made


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /_simulator/faults` takes."""

    model: str = EVERY
    rates: dict[str, float] | None = None
    script: list[str] | None = None


class Desk:
    """The handlers of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who has a key, and answer every error in OpenRouter's form."""
        keys = self._simulator.options.keys
        if keys and not request.path.startswith("/_simulator/"):
            scheme, _, key = request.headers.get("Authorization", "").partition(" ")
            if not key:
                return _failed(failure(401, "No auth credentials found", "authentication"))
            if scheme.lower() != "bearer" or key.strip() not in keys:
                return _failed(failure(401, "User not found.", "authentication"))
        try:
            return await handler(request)
        except ConnectionError:
            return web.Response()  # the client has left, which the books say; nobody hears this
        except web.HTTPRequestEntityTooLarge:
            limit = self._simulator.options.body_limit
            return _failed(failure(413, f"Request payload is larger than {limit} bytes", "payload_too_large"))
        except web.HTTPException as error:
            return _failed(failure(error.status, f"{error.reason}: {request.method} {request.path}", "not_found"))
        except SimulatorError as error:
            return _failed(failure(400, f"simulator: {error}", "invalid_request"))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /chat/completions`."""
        try:
            body: Any = msgspec.json.decode(await request.read())
        except msgspec.DecodeError as error:
            return _failed(failure(400, f"The request body is not JSON: {error}", "invalid_request"))
        headers = request.headers
        told = headers.get("X-OpenRouter-Metadata") or headers.get("X-OpenRouter-Experimental-Metadata")
        world = self._simulator.world
        ask = Ask(
            body=body,
            header=headers.get(HEADER),
            session=headers.get("x-session-id"),
            metadata=told == "enabled",
        )
        turn = exchange.answer(world, ask)
        if isinstance(turn, Refused):
            return _failed(turn.failure, turn.metadata)
        if isinstance(turn, Nothing):
            return await delivery.nothing(request, turn)
        send = delivery.stream if ask.stream else delivery.whole
        return await send(request, turn, world)

    async def models(self, request: web.Request) -> web.Response:
        """`GET /models`."""
        try:
            offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 500))
        except ValueError:
            return _failed(failure(400, "offset and limit are whole numbers", "invalid_request"))
        return _json(pages.models_page(list(self._simulator.world.models.values()), max(0, offset), max(0, limit)))

    async def model(self, request: web.Request) -> web.Response:
        """`GET /model/{author}/{slug}`: resolves dated slugs."""
        name = f"{request.match_info['author']}/{request.match_info['slug']}"
        found = exchange.find(self._simulator.world, name)
        return _no_model(name) if found is None else _json({"data": pages.model_entry(found), "simulated": True})

    async def endpoints(self, request: web.Request) -> web.Response:
        """`GET /models/{author}/{slug}/endpoints`."""
        name = f"{request.match_info['author']}/{request.match_info['slug']}"
        found = exchange.find(self._simulator.world, name)
        return _no_model(name) if found is None else _json(pages.endpoints_page(found))

    async def generation(self, request: web.Request) -> web.Response:
        """`GET /generation?id=`: 404 while the answer is under way and for `generation_delay` seconds after."""
        wanted = request.query.get("id", "")
        entry = self._simulator.world.books.entries.get(wanted)
        ready = (
            entry is not None
            and entry.closed
            and (time.monotonic() - entry.closed >= self._simulator.options.generation_delay)
        )
        if entry is None or not ready:
            return _failed(failure(404, f"Generation {wanted} not found", "not_found"))
        return _json(pages.generation_page(entry))

    async def activity(self, request: web.Request) -> web.Response:
        """`GET /activity?date=`."""
        return _json(pages.activity_page(self._simulator.world.books, request.query.get("date")))

    async def key(self, request: web.Request) -> web.Response:
        """`GET /key`."""
        return _json(pages.key_page(self._simulator.world.books, self._simulator.options.credits))

    async def credits(self, request: web.Request) -> web.Response:
        """`GET /credits`."""
        return _json(pages.credits_page(self._simulator.world.books, self._simulator.options.credits))

    async def books(self, request: web.Request) -> web.Response:
        """`GET /_simulator/books`."""
        return _json(self._simulator.books())

    async def reset(self, request: web.Request) -> web.Response:
        """`POST /_simulator/reset`."""
        self._simulator.reset()
        return _json({"simulated": True})

    async def faults(self, request: web.Request) -> web.Response:
        """`GET /_simulator/faults`."""
        return _json(self._simulator.world.switches.page())

    async def switch(self, request: web.Request) -> web.Response:
        """`POST /_simulator/faults`: `{"model": "*", "rates": {...}}` or `{"model": "*", "script": [...]}`."""
        try:
            wanted = msgspec.json.decode(await request.read(), type=Switch)
        except msgspec.DecodeError as error:
            return _failed(failure(400, f"simulator: {error}", "invalid_request"))
        if wanted.rates is not None:
            self._simulator.rates(wanted.rates, model=wanted.model)
        for name in wanted.script or ():
            self._simulator.script(name, model=wanted.model)
        return _json(self._simulator.world.switches.page())


def _json(body: Wire, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=wire.encode(body),
        status=status,
        content_type="application/json",
        headers={**delivery.LABEL, **(headers or {})},
    )


def _failed(made: Failure, metadata: Wire | None = None) -> web.Response:
    headers = {**delivery.LABEL, **made.headers}
    if made.page is not None:
        return web.Response(text=made.page, status=made.status, content_type="text/html", headers=headers)
    return _json(wire.error_body(made, metadata), made.status, headers)


def _no_model(name: str) -> web.Response:
    made = unknown_model(name)
    return _json(wire.error_body(made), 404)
