"""Sends answers, whole or streamed, breaks them where a fault says so, and settles the books by what arrived."""

from __future__ import annotations

import asyncio

from aiohttp import web

from cheapfirst.simulator import billing, wire
from cheapfirst.simulator import stream as streams
from cheapfirst.simulator.books import Bill
from cheapfirst.simulator.exchange import Nothing, Turn, World

LABEL = {"X-Cheapfirst-Simulated": "1"}
# The client got an end of some kind, but not the whole answer.
_SPOILED = frozenset(
    {"200_error_body", "empty_choices", "choice_error", "malformed_body", "mid_stream_error", "mid_stream_error_text",
     "length_as_error", "ends_early"}
)  # fmt: skip


async def nothing(request: web.Request, wanted: Nothing) -> web.StreamResponse:
    """Never answer: hang up at once, or hold the request until the client leaves."""
    if not wanted.hang_up:
        await _forever()
    _hang_up(request)
    return web.Response()


async def whole(request: web.Request, turn: Turn, world: World) -> web.StreamResponse:
    """Send an answer in one piece. It is billed whether or not the client waits for it."""
    faults, entry = turn.served.faults, turn.entry
    lost = bool(faults & {"cut_socket", "stall", "silent_billed"})
    try:
        if turn.whole_seconds:
            await asyncio.sleep(turn.whole_seconds)
        if "silent_billed" in faults:
            await _forever()
        body = wire.encode(wire.body(turn.served))
        if "malformed_body" in faults:
            body = b"<html><body>Bad gateway (simulated)</body></html>"
        world.books.close(entry, delivered=not lost and _SPOILED.isdisjoint(faults))
        if faults & {"cut_socket", "stall"}:
            return await _half(request, turn, body)
        response = web.Response(body=body, content_type="application/json", headers=_headers(turn))
        await response.prepare(request)
        await response.write_eof()
    except (asyncio.CancelledError, ConnectionError):
        world.books.close(entry, delivered=False, cancelled="cut_socket" not in faults)
        raise
    return response


async def _half(request: web.Request, turn: Turn, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_headers(turn), "Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if "stall" in turn.served.faults:
        await _forever()
    _hang_up(request)
    return response


async def stream(request: web.Request, turn: Turn, world: World) -> web.StreamResponse:
    """Send an answer as server-sent events. A client that leaves pays for what was made, or for all of it."""
    faults, entry = turn.served.faults, turn.entry
    spent = 0
    ended = False
    try:
        if "silent_billed" in faults:
            await _forever()
        made, ending = streams.frames(turn.served, turn.pace)
        frames = streams.joined(made)
        response = web.StreamResponse(
            headers={**_headers(turn), "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        for index, frame in enumerate(frames):
            if frame.pause:
                await asyncio.sleep(frame.pause)
            spent = max(spent, frame.spent)
            if index == len(frames) - 1 and ending == "close":
                # Settled before the last write, so that a client that has seen the end finds it in the books.
                ended = True
                bill = _partial(turn, spent, world) if "length_as_error" in faults else entry.bill
                world.books.close(entry, delivered=_SPOILED.isdisjoint(faults), bill=bill)
            await response.write(frame.data)
        if ending == "hang":
            await _forever()
        if ending == "cut":
            ended = True
            world.books.close(entry, delivered=False)
            _hang_up(request)
            return response
        await response.write_eof()
    except (asyncio.CancelledError, ConnectionError):
        bill = entry.bill if ended or "silent_billed" in faults else _partial(turn, spent, world)
        world.books.close(entry, delivered=False, cancelled=True, bill=bill)
        raise
    return response


def _partial(turn: Turn, spent: int, world: World) -> Bill:
    return billing.partial(turn.served.model, turn.entry.bill, spent, turn.served.faults, world.options)


def _headers(turn: Turn) -> dict[str, str]:
    headers = {**LABEL, "X-Generation-Id": turn.served.id}
    if "cache_hit" in turn.served.faults:
        headers |= {
            "X-OpenRouter-Cache-Status": "HIT",
            "X-OpenRouter-Cache-Age": "1",
            "X-OpenRouter-Cache-TTL": "300",
        }
    return headers


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _forever() -> None:
    await asyncio.Event().wait()
