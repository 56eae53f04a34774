"""The gateway as an ASGI application: finds what a request is for, serves it through the cascade, answers problems.

A bare ASGI callable: no framework stands between the server and the cascade.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cheapfirst import cascade
from cheapfirst.access import Key, place
from cheapfirst.errors import AnswerCutOff, CheapfirstError
from cheapfirst.gateway import admission, asked, body, chat, failure, pages, passthrough, trail
from cheapfirst.gateway.admission import Admission
from cheapfirst.gateway.asgi import JSON, Receive, Scope, Send, respond
from cheapfirst.gateway.body import Left
from cheapfirst.gateway.faces import chat as chat_face
from cheapfirst.gateway.faces.face import FACES, Face
from cheapfirst.gateway.gate import Gate
from cheapfirst.gateway.leave import Leaving
from cheapfirst.gateway.logs import Logs
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.gateway.siblings import Siblings
from cheapfirst.gateway.stream import SLOW_READER, Stream
from cheapfirst.gateway.telemetry import LEFT, Telemetry
from cheapfirst.gateway.tracing import Tracing
from cheapfirst.gateway.tracing import of as tracing_of
from cheapfirst.ledger import Recorder, locate
from cheapfirst.messages import Answer, Wire
from cheapfirst.policy import Policy
from cheapfirst.policy.load import BUILT_IN
from cheapfirst.router import AsyncRouter

LOG = logging.getLogger("cheapfirst.gateway")

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Gateway:
    """An ASGI application that serves the OpenAI, Responses and Messages protocols.

    Args are those of `AsyncRouter`; `store` is the address of keys and budgets (a file or a postgresql:// URL; absent:
    CHEAPFIRST_STORE, else access.db beside the ledger). `logs` takes a line a request (absent: none), `tracing` makes
    OpenTelemetry's spans and metrics (True: as its environment variables say; absent: where one of them names a
    place to send to). `parts` is how many processes share the policy's bounds on requests and calls at
    once; this one takes an equal part. Mount it in an application of your own, or let `cheapfirst serve` run it.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        ledger: str | Path | bool | Recorder | None = None,
        checks: Mapping[str, Callable[..., Any]] | None = None,
        store: str | None = None,
        logs: Logs | None = None,
        tracing: Tracing | bool | None = None,
        parts: int = 1,
    ) -> None:
        self.router = AsyncRouter(policy, base_url=base_url, api_key=api_key, ledger=ledger, checks=checks)
        self.router.upstream.divide(parts)
        self._parts = parts
        self.siblings: Siblings | None = None  # when several processes serve
        self.gate = Gate(self.router.policy.gateway, parts)
        ledger_file = self.router.ledger.path or locate(self.router.policy.ledger.path)
        self.admission = Admission(self.router.policy, place.find(ledger_file) if store is None else store)
        self.telemetry = Telemetry(
            (*FACES, *pages.PAGES), logs=logs, tracing=tracing_of(tracing, self.router.policy.upstream.base_url)
        )
        self._options: dict[str, Any] = {"base_url": base_url, "api_key": api_key, "checks": checks}
        self._old: set[asyncio.Task[None]] = set()  # routers of policies before, on their way out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise RuntimeError(f"cheapfirst's gateway speaks HTTP, not {scope['type']}")

    def reload(self) -> bool:
        """Read the policy's file again; requests under way end under the old policy, later ones get the new one.

        Returns whether its meaning or the gateway's options changed. Raises PolicyError and leaves everything as it
        is when the new policy is wrong. The ledger stays the one it is.
        """
        source = self.router.policy.source
        given = source if source != BUILT_IN else None
        new = AsyncRouter(given, ledger=self.router.ledger, **self._options)
        if new.policy == self.router.policy:
            return False
        new.upstream.divide(self._parts)
        old, self.router = self.router, new
        self.gate.use(new.policy.gateway)
        self.admission.use(new.policy)
        leaving = asyncio.ensure_future(_let_end(old))
        self._old.add(leaving)
        leaving.add_done_callback(self._old.discard)
        return True

    async def aclose(self) -> None:
        """Close connections and bring the ledger's journal into its database."""
        for leaving in self._old:
            leaving.cancel()
        try:
            await self.admission.close()
        finally:
            await self.router.aclose()
            await asyncio.to_thread(self.telemetry.close)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        face = FACES.get(path)
        headers = dict(scope["headers"])
        try:
            key = await self.admission.enter(headers) if not path.startswith("/health") else None
            if face is not None and scope["method"] == "POST":
                status = await self._ask(face, key, scope, headers, receive, send)
            elif passthrough.passes(path, (*FACES, *pages.PAGES)):
                status = await self._pass(scope, path, key, headers, receive, send)
            else:
                status = await self._page(scope, path, face, headers, send)
            self.telemetry.answered(path, status)
        except Left:
            self.telemetry.answered(path, LEFT)
        except Refused as refused:
            self.telemetry.answered(path, refused.problem.status, refused.problem)
            await _tell(scope, send, face, refused.problem)

    async def _page(
        self,
        scope: Scope,
        path: str,
        face: Face | None,
        headers: Mapping[bytes, bytes],
        send: Send,
    ) -> int:
        page = pages.find(path, scope["method"], posted=face is not None)
        answer = await page(self, path, headers)
        await respond(scope, send, answer.status, answer.content, answer.headers)
        return answer.status

    async def _pass(
        self, scope: Scope, path: str, key: Key | None, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> int:
        await self.gate.enter()
        try:
            return await passthrough.serve(self, scope, path, key, headers, receive, send)
        except CheapfirstError as error:
            raise Refused(failure.of(error)) from error
        finally:
            self.gate.leave()

    async def _ask(
        self, face: Face, key: Key | None, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> int:
        await self.gate.enter()
        request_id: str | None = None
        task = ""
        try:
            router = self.router
            raw = await body.read(headers, receive, router.policy.gateway)
            said = body.decode(raw)
            wire = face.read(said)
            now = time.time()
            ask = asked.read(wire, headers, router.policy, router.catalog, now=now, key=key)
            request_id, task = ask.request.id, ask.request.task
            watch = self.telemetry.watch(router.ledger, headers, ask.request)
            job = router.job(
                ask.request, schema=ask.schema, at=now, headers=watch.headers, calling=watch.calling, records=watch
            )
            if key is not None:
                job = admission.scoped(job, key)
            events = face.Events(said, request_id) if ask.request.stream else None
            with Leaving(scope, receive):
                if self.admission.needed(ask.request, key):
                    job = await self.admission.admit(job, key, now)  # nothing may go wrong between this and its start
                if events is not None:
                    await Stream(job, face, events, send, router.policy.gateway).run()
                else:
                    answer = await _whole(job)
                    told = face.whole(chat.whole(answer), said, request_id)
                    await respond(scope, send, 200, _ENCODER.encode(told), [JSON, *trail.headers_of(answer)])
            return 200
        except (Left, Refused, asyncio.CancelledError):
            raise
        except CheapfirstError as error:
            raise Refused(failure.of(error, task=task, request_id=request_id)) from error
        except Exception as error:
            LOG.exception("request %s failed inside the gateway", request_id)
            raise Refused(failure.unexpected(request_id)) from error
        finally:
            self.gate.leave()


async def _let_end(router: AsyncRouter) -> None:
    """Close a router's connections when the last of its requests must have ended."""
    try:
        await asyncio.sleep(router.policy.limits.deadline + SLOW_READER)
    finally:
        await router.disconnect()


async def _whole(job: Any) -> Answer:
    """The answer; one that was cut off is an answer too, with the finish reason that says so."""
    try:
        return await cascade.run(job)
    except AnswerCutOff as error:
        if error.answer is None:
            raise
        return error.answer


async def _tell(scope: Scope, send: Send, face: Face | None, problem: Problem) -> None:
    """Answer with a problem, in the words of the protocol that was asked."""
    told: Wire = (face or chat_face).error(problem)
    headers = [JSON]
    if problem.request_id is not None:
        headers.append((b"x-cheapfirst-request-id", problem.request_id.encode()))
    if problem.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(problem.retry_after + 0.499))).encode()))
    if problem.allow is not None:
        headers.append((b"allow", problem.allow.encode()))
    if problem.status >= 500 and problem.retry_after is None:
        headers.append((b"x-should-retry", b"false"))  # what could be tried again has been
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await respond(scope, send, problem.status, _ENCODER.encode(told), headers)
