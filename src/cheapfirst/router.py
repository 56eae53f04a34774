"""The library's front door: `Router` (sync) and `AsyncRouter`, with run, stream, batch and explain."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from msgspec import structs

from cheapfirst import cascade, catalog, plan
from cheapfirst import policy as policy_module
from cheapfirst.checks import Schema, read_schema
from cheapfirst.errors import CheapfirstError, RequestError
from cheapfirst.ledger import Recorder, locate
from cheapfirst.messages import Answer, Plan, Request, Wire
from cheapfirst.policy import Policy
from cheapfirst.policy import named
from cheapfirst.policy.checks import Check, Custom
from cheapfirst.policy.load import is_openrouter
from cheapfirst.policy.problems import Problems
from cheapfirst.upstream import Upstream

Input: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A text (sent as one user message) or chat messages as the OpenAI protocol has them."""
CheckLike: TypeAlias = str | Mapping[str, Any] | Check | Callable[..., Any]
"""A check as the policy table spells it, a check struct, or a function `(value, context) -> findings`."""
T = TypeVar("T")

RESERVED = frozenset({"model", "models", "messages", "stream"})


class AsyncRouter:
    """Sends each request to the cheapest model whose answer passes its checks. Safe for concurrent use.

    Args:
        policy: a file, a loaded Policy, or None to find one (CHEAPFIRST_POLICY, cheapfirst.toml in the
            working directory or beside the program, else the built-in).
        base_url: another OpenAI-compatible server; absent: CHEAPFIRST_BASE_URL, else as the policy says.
        api_key: absent: the environment variable that the policy names.
        ledger: a file, False to record nothing, or None for the default place.
        checks: the caller's own check functions by the name that the policy uses for them.

    Raises PolicyError when the policy is wrong.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        ledger: str | Path | bool | None = None,
        checks: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._custom = dict(checks or {})
        loaded = policy_module.load(policy, custom=self._custom)
        base_url = base_url or os.environ.get("CHEAPFIRST_BASE_URL")
        if base_url is not None:
            loaded = structs.replace(loaded, upstream=structs.replace(loaded.upstream, base_url=base_url))
        self.policy = loaded
        self.catalog = catalog.load(loaded.models)
        self._api_key = api_key or os.environ.get(loaded.upstream.key_env)
        self._upstream = Upstream(loaded.upstream, api_key=self._api_key)
        self.ledger = Recorder(_ledger_path(ledger, loaded), durability=loaded.ledger.durability)

    async def run(
        self,
        task: str,
        input: Input,
        *,
        schema: Any = None,
        source: str | None = None,
        feature: str | None = None,
        tenant: str | None = None,
        session: str | None = None,
        user_facing: bool | None = None,
        tier: str | None = None,
        model: str | None = None,
        checks: Sequence[CheckLike] = (),
        **wire: Any,
    ) -> Answer:
        """Run one request and return its answer.

        Args:
            task: a task of the policy.
            input: a text or chat messages.
            schema: what the value must be: a JSON Schema, a pydantic model, a dataclass, a TypedDict, a
                Literal, or a msgspec Struct. The answer's value is converted to it.
            source: the text that `grounded` compares with; absent: the user's messages.
            feature, tenant, session: recorded in the ledger; session also keeps prompt caches warm.
            user_facing: overrides the route's.
            tier, model: force one; recorded as forced, and never escalated from.
            checks: more checks than the route's.
            **wire: further fields of the chat-completions protocol (tools, temperature, seed, ...).

        Raises RequestError for a wrong request and RequestFailed when no acceptable answer was had.
        """
        job = self._job(
            task,
            input,
            schema=schema,
            source=source,
            feature=feature,
            tenant=tenant,
            session=session,
            user_facing=user_facing,
            tier=tier,
            model=model,
            checks=checks,
            stream=False,
            wire=wire,
        )
        return await cascade.run(job)

    def stream(self, task: str, input: Input, **options: Any) -> AsyncStream:
        """Run one request and iterate over its text. Options and errors are those of `run`.

        Routes with `stream = "pass"` let text flow at once (checks run after, for the ledger); with
        "hold" the text comes when it has passed its checks. The whole answer is `.answer` afterwards.
        """
        return AsyncStream(cascade.stream(self._job(task, input, stream=True, **_split(options))))

    async def batch(
        self,
        task: str,
        inputs: Iterable[Input | Mapping[str, Any]],
        *,
        concurrency: int | None = None,
        **options: Any,
    ) -> list[Answer | CheapfirstError]:
        """Run many requests, `concurrency` at a time (absent: the policy's limit); results keep their order.

        An item is an input, or a mapping with `input` and options of its own that win over the shared
        ones. An item that fails gives its error in its place; the others go on.
        """
        limit = concurrency if concurrency is not None else self.policy.limits.concurrency
        if limit < 1:
            raise RequestError(f"concurrency must be 1 or more; got {limit}")
        results: dict[int, Answer | CheapfirstError] = {}
        items = enumerate(inputs)

        async def work() -> None:
            for number, item in items:
                try:
                    results[number] = await self._item(task, item, options)
                except CheapfirstError as error:
                    results[number] = error

        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
        return [results[number] for number in range(len(results))]

    def explain(self, task: str, input: Input, *, stream: bool = False, **options: Any) -> Plan:
        """Return the plan of a request without calling anyone. Options and errors are those of `run`."""
        return self._job(task, input, stream=stream, need_key=False, **_split(options)).plan

    async def aclose(self) -> None:
        """Close connections and bring the ledger's journal into its database."""
        await self._upstream.close()
        await asyncio.to_thread(self.ledger.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _item(self, task: str, item: Input | Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        if isinstance(item, Mapping):
            own = dict(item)
            if "input" not in own:
                raise RequestError(f"a batch item given as a mapping needs the key 'input'; it has {sorted(own)}")
            return await self.run(task, own.pop("input"), **{**options, **own})
        return await self.run(task, item, **options)

    def _job(
        self,
        task: str,
        input: Input,
        *,
        wire: Mapping[str, Any],
        stream: bool,
        schema: Any = None,
        source: str | None = None,
        feature: str | None = None,
        tenant: str | None = None,
        session: str | None = None,
        user_facing: bool | None = None,
        tier: str | None = None,
        model: str | None = None,
        checks: Sequence[CheckLike] = (),
        need_key: bool = True,
    ) -> cascade.Job:
        now = time.time()
        read, custom = self._read_checks(checks)
        wanted = read_schema(schema) if schema is not None else _wire_schema(wire)
        request = Request(
            id=request_id(now),
            task=task,
            body=_body(input, wire),
            schema=wanted.json if wanted is not None else None,
            source=source,
            feature=feature,
            tenant=tenant,
            session=session,
            user_facing=user_facing,
            tier=tier,
            model=model,
            stream=stream,
            checks=read,
        )
        made = plan.make(request, self.policy, self.catalog, at=now)
        if need_key and self._api_key is None and is_openrouter(self.policy.upstream.base_url):
            raise RequestError(
                f"no API key: set the environment variable {self.policy.upstream.key_env}, give Router(api_key=...), "
                "or try it without a key: cheapfirst demo"
            )
        return cascade.Job(
            request=request,
            plan=made,
            route=self.policy.routes[task],
            policy=self.policy,
            catalog=self.catalog,
            upstream=self._upstream,
            ledger=self.ledger,
            schema=wanted,
            custom=custom,
        )

    def _read_checks(self, checks: Sequence[CheckLike]) -> tuple[tuple[Check, ...], Mapping[str, Callable[..., Any]]]:
        if not checks:
            return (), self._custom
        custom = dict(self._custom)
        plain: list[Any] = []
        own: list[Check] = []
        for check in checks:
            if isinstance(check, str | Mapping):
                plain.append(check)
            elif callable(check):
                name = getattr(check, "__name__", type(check).__name__)
                custom[name] = check
                own.append(Custom(name=name))
            else:
                own.append(check)
        problems = Problems("")
        read = named.read(plain, custom, ("checks",), problems)
        if len(problems):
            raise RequestError("; ".join(problems.sentences()))
        return (*read, *own), custom


class AsyncStream:
    """The text of one answer, piece by piece; `answer` holds the whole of it once the text has ended."""

    def __init__(self, items: AsyncGenerator[Wire | Answer, None]) -> None:
        self._items = items
        self.answer: Answer | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        shown = False
        try:
            async for item in self._items:
                if isinstance(item, Answer):
                    self.answer = item
                    if not shown and item.text:
                        yield item.text
                elif text := _piece(item):
                    shown = True
                    yield text
        finally:
            await self._items.aclose()

    async def aclose(self) -> None:
        """Stop early: the upstream call is cancelled and the request recorded as cancelled."""
        await self._items.aclose()


class Router:
    """`AsyncRouter` for synchronous programs: same arguments, same methods, run on a private loop thread.

    Works inside a running event loop too (notebooks) and may be shared by threads.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        ledger: str | Path | bool | None = None,
        checks: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._router = AsyncRouter(policy, base_url=base_url, api_key=api_key, ledger=ledger, checks=checks)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._router.policy

    @property
    def ledger(self) -> Recorder:
        """Where requests are recorded."""
        return self._router.ledger

    def run(self, task: str, input: Input, **options: Any) -> Answer:
        """Run one request and return its answer; see `AsyncRouter.run`."""
        return self._wait(self._router.run(task, input, **options))

    def stream(self, task: str, input: Input, **options: Any) -> Stream:
        """Run one request and iterate over its text; see `AsyncRouter.stream`."""
        return Stream(self._router.stream(task, input, **options), self._wait)

    def batch(
        self,
        task: str,
        inputs: Iterable[Input | Mapping[str, Any]],
        *,
        concurrency: int | None = None,
        **options: Any,
    ) -> list[Answer | CheapfirstError]:
        """Run many requests; see `AsyncRouter.batch`."""
        return self._wait(self._router.batch(task, inputs, concurrency=concurrency, **options))

    def explain(self, task: str, input: Input, **options: Any) -> Plan:
        """Return the plan of a request without calling anyone; see `AsyncRouter.explain`."""
        return self._router.explain(task, input, **options)

    def close(self) -> None:
        """Close connections, bring the ledger's journal into its database, and end the loop thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            self._router.ledger.close()
            return
        asyncio.run_coroutine_threadsafe(self._router.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="cheapfirst", daemon=True).start()
            return self._loop


class Stream:
    """The text of one answer, piece by piece, for synchronous programs. `answer` is set once it has ended."""

    def __init__(self, stream: AsyncStream, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._stream = stream
        self._wait = wait

    @property
    def answer(self) -> Answer | None:
        """The whole answer; None until the text has ended."""
        return self._stream.answer

    def __iter__(self) -> Iterator[str]:
        pieces = self._stream.__aiter__()
        try:
            while True:
                piece = self._wait(_next(pieces))
                if piece is None:
                    return
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Stop early: the upstream call is cancelled and the request recorded as cancelled."""
        self._wait(self._stream.aclose())


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def request_id(now: float) -> str:
    """A new request id, sortable by time: "req_", ten characters of milliseconds, sixteen of chance
    (Crockford's base 32, as ULIDs have it)."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = (int(now * 1000) << 80) | secrets.randbits(80)
    return "req_" + "".join(alphabet[(number >> shift) & 31] for shift in range(125, -1, -5))


def _split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Tell `run`'s own options from further wire fields."""
    own = {key: value for key, value in options.items() if key in OPTIONS}
    return {**own, "wire": {key: value for key, value in options.items() if key not in OPTIONS}}


OPTIONS = frozenset(
    {"schema", "source", "feature", "tenant", "session", "user_facing", "tier", "model", "checks", "need_key"}
)


def _body(input: Input, wire: Mapping[str, Any]) -> Wire:
    for key in RESERVED & wire.keys():
        raise RequestError(f"{key!r} is not a wire field to set here: the policy and the plan decide it")
    if isinstance(input, str):
        messages: list[Any] = [{"role": "user", "content": input}]
    elif isinstance(input, Sequence) and all(isinstance(message, Mapping) for message in input):
        messages = [dict(message) for message in input]
    else:
        raise RequestError(f"input must be a text or a list of chat messages; got {type(input).__name__}")
    if isinstance(input, str) and not input.strip():
        raise RequestError("the input is empty: give a text or a list of chat messages")
    return {**wire, "messages": messages}


def _wire_schema(wire: Mapping[str, Any]) -> Schema | None:
    """The schema of a `response_format` that the caller set as a wire field, if it has one."""
    response_format = wire.get("response_format")
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        wanted = response_format.get("json_schema")
        if isinstance(wanted, Mapping) and isinstance(wanted.get("schema"), Mapping):
            return read_schema(dict(wanted["schema"]))
        raise RequestError("response_format of type json_schema needs json_schema.schema")
    return None


def _piece(chunk: Wire) -> str:
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    content = delta.get("content")
    return content if isinstance(content, str) else ""


def _ledger_path(given: str | Path | bool | None, loaded: Policy) -> Path | None:
    if given is False:
        return None
    if given is None or given is True:
        return locate(loaded.ledger.path)
    return Path(given)
