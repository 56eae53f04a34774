"""Serves one request that passes through: lets it in, sends it on, sends the answer back as it comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cheapfirst.access import Key, keys
from cheapfirst.errors import UpstreamFault
from cheapfirst.gateway import body, failure
from cheapfirst.gateway.admission import Settling
from cheapfirst.gateway.asgi import Receive, Scope, Send
from cheapfirst.gateway.leave import Leaving
from cheapfirst.gateway.passthrough import asking, paths
from cheapfirst.gateway.passthrough.passing import TIER, UNKNOWN, Passing
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.gateway.stream import SLOW_READER
from cheapfirst.gateway.telemetry import Watch
from cheapfirst.job import Records
from cheapfirst.messages import Fault, Request, Wire
from cheapfirst.upstream import raw
from cheapfirst.upstream.faults import Failed

if TYPE_CHECKING:
    from cheapfirst.gateway.app import Gateway

LOG = logging.getLogger("cheapfirst.gateway")


async def serve(
    gateway: Gateway,
    scope: Scope,
    path: str,
    key: Key | None,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    send: Send,
) -> int:
    """Pass one request on and its answer back. Returns its HTTP status.

    Raises Refused, an AccessError, UpstreamFault for a fault before the answer began, and Left. A fault after that
    breaks the connection off, so that nobody takes what came for the whole.
    """
    method = scope["method"]
    target = paths.target(path, scope.get("raw_path") or path.encode(), scope.get("query_string", b""), method)
    content = await body.read(headers, receive, gateway.router.policy.gateway)
    now = time.time()
    wire = asking.said(headers, content)
    request = asking.request(path, headers, wire, key, now)
    if key is not None:
        keys.require_task(key, request.task)
        keys.require_model(key, request.model or UNKNOWN)
        keys.require_tier(key, TIER)
    with Leaving(scope, receive):
        watch = gateway.telemetry.watch(gateway.router.ledger, headers, request)
        passing = await _admitted(gateway, watch, request, wire, content, key, now, counted=method == "POST")
        try:
            await _pass(passing, gateway, method, target, content, _sent(headers, watch), send)
        except Failed as failed:
            passing.fail(failed.fault)
            if not passing.begun:
                raise _error(passing, failed.fault) from None
        except TimeoutError:
            if not passing.begun:
                raise Refused(
                    Problem(status=504, code="deadline_exceeded", message="The upstream's answer took too long.")
                ) from None
        except Exception:
            LOG.exception("request %s failed inside the gateway", request.id)
            if passing.begun:
                raise  # the server breaks the connection off
            raise Refused(failure.unexpected(request.id)) from None
        finally:
            if method == "POST":
                passing.record()
    return passing.status


def _sent(headers: Mapping[bytes, bytes], watch: Watch) -> Mapping[str, str]:
    sent = {**paths.sent(headers), **watch.headers}
    return sent if watch.calling is None else {**sent, **watch.calling()}


async def _admitted(
    gateway: Gateway,
    watch: Watch,
    request: Request,
    wire: Wire,
    content: bytes,
    key: Key | None,
    now: float,
    *,
    counted: bool,
) -> Passing:
    """Reserve what a request that counts may cost, where a budget or a rate binds it. Raises AccessError."""
    router = gateway.router
    records: Records = watch
    worst = None
    if counted and gateway.admission.needed(request, key):
        worst = asking.price(request, wire, content, router.catalog, now)
        lasts = router.policy.limits.deadline
        lease = await gateway.admission.access.admit(
            request, key, worst, asking.tokens(content), wait=lasts, lasts=lasts + SLOW_READER
        )
        records = Settling(records, lease)
    return Passing(router, records, request, now, worst.full if worst is not None else None)


async def _pass(
    passing: Passing,
    gateway: Gateway,
    method: str,
    target: str,
    content: bytes,
    headers: Mapping[str, str],
    send: Send,
) -> None:
    limits = gateway.router.policy.limits
    async with asyncio.timeout(limits.deadline + SLOW_READER):
        async with raw.open(
            gateway.router.upstream,
            method,
            target,
            content,
            headers,
            timeouts=limits.timeouts,
            budget=limits.deadline,
        ) as answer:
            passing.begin(answer.status)
            told = paths.returned(answer.headers)
            told.append((b"x-cheapfirst-request-id", passing.request.id.encode()))
            await send({"type": "http.response.start", "status": answer.status, "headers": told})
            async for piece in answer.pieces:
                passing.see(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        passing.end()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _error(passing: Passing, fault: Fault) -> UpstreamFault:
    return UpstreamFault(
        f"upstream fault {fault.name}: {fault.sentence} ({passing.request.task}, 1 attempt(s))",
        request_id=passing.request.id,
        attempts=(passing.attempt(),),
        fault=fault,
    )
