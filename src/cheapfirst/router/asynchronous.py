"""`AsyncRouter`: run, stream, batch and explain, for asynchronous programs."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cheapfirst import cascade, catalog, compose, plan
from cheapfirst import policy as policy_module
from cheapfirst.aftermath import Aftermath
from cheapfirst.checks import Schema, read_schema
from cheapfirst.errors import CheapfirstError, NoUpstreamKey, RequestError
from cheapfirst.job import Job, Records
from cheapfirst.ledger import Recorder, locate
from cheapfirst.messages import Answer, Plan, Request, Wire
from cheapfirst.policy import Policy
from cheapfirst.policy.load import is_openrouter
from cheapfirst.router.request import CheckLike, Input, body, read_checks, request_id, split, texts, wire_schema
from cheapfirst.upstream import Upstream


class AsyncRouter:
    """Sends each request to the cheapest model whose answer passes its checks. Safe for concurrent use.

    Args:
        policy: a file, a loaded Policy, or None to find one (CHEAPFIRST_POLICY, cheapfirst.toml in the
            working directory or beside the program, else the built-in).
        base_url: another OpenAI-compatible server; absent: CHEAPFIRST_BASE_URL, else as the policy says.
        api_key: absent: the environment variable that the policy names.
        ledger: a file, False to record nothing, None for the default place, or a Recorder to share.
        checks: the caller's own check functions by the name that the policy uses for them.

    Raises PolicyError when the policy is wrong.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        ledger: str | Path | bool | Recorder | None = None,
        checks: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._custom = dict(checks or {})
        base_url = base_url or os.environ.get("CHEAPFIRST_BASE_URL") or None
        loaded = policy_module.load(policy, custom=self._custom, base_url=base_url)
        self.policy = loaded
        self.catalog = catalog.load(loaded.models)
        self._plans: dict[Hashable, Plan] = {}
        self._api_key = api_key or os.environ.get(loaded.upstream.key_env)
        self.upstream = Upstream(loaded.upstream, api_key=self._api_key)
        self._keyless = self._api_key is None and is_openrouter(loaded.upstream.base_url)
        self.ledger = (
            ledger
            if isinstance(ledger, Recorder)
            else Recorder(_ledger_path(ledger, loaded), durability=loaded.ledger.durability)
        )
        self._aftermath = (
            Aftermath(
                self.upstream,
                loaded.upstream,
                self.catalog,
                asks=compose.speaks_openrouter(loaded),
                native=compose.native_fallback(loaded),
                settle=self.ledger.settle,
            )
            if self.ledger.path is not None
            else None
        )

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
        return AsyncStream(cascade.stream(self._job(task, input, stream=True, **split(options))))

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
        if not isinstance(limit, int) or limit < 1:
            raise RequestError(f"concurrency must be a whole number, 1 or more; got {limit!r}")
        if clash := {"task", "input"} & options.keys():
            raise RequestError(f"{', '.join(sorted(clash))}: belongs to the items of a batch, not to its options")
        results: dict[int, Answer | CheapfirstError] = {}
        items = enumerate(inputs)

        async def work() -> None:
            for number, item in items:
                try:
                    results[number] = await self._item(task, item, options)
                except CheapfirstError as error:
                    results[number] = error

        import asyncio

        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
        return [results[number] for number in range(len(results))]

    @property
    def missing_key(self) -> str | None:
        """The environment variable that should hold the upstream's key, when the upstream needs one and has none."""
        return self.policy.upstream.key_env if self._keyless else None

    def explain(self, task: str, input: Input, *, stream: bool = False, **options: Any) -> Plan:
        """Return the plan of a request without calling anyone. Options and errors are those of `run`."""
        return self._job(task, input, stream=stream, need_key=False, **split(options)).plan

    async def aclose(self) -> None:
        """Close connections and bring the ledger's journal into its database."""
        import asyncio

        await self.disconnect()
        await asyncio.to_thread(self.ledger.close)

    async def disconnect(self) -> None:
        """Close connections only. Requests made afterwards end in the fault `closed`.

        Takes a moment where the cost of calls that were left or broke off is still being found out.
        """
        if self._aftermath is not None:
            await self._aftermath.close()
        await self.upstream.close()

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
            if "task" in own:
                raise RequestError("a batch has one task for all its items; an item cannot name its own")
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
    ) -> Job:
        now = time.time()
        texts(task=task, source=source, feature=feature, tenant=tenant, session=session, tier=tier, model=model)
        read, custom = read_checks(checks, self._custom)
        wanted = read_schema(schema) if schema is not None else wire_schema(wire)
        request = Request(
            id=request_id(now),
            task=task,
            body=body(input, wire),
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
        return self.job(request, schema=wanted, custom=custom, at=now, need_key=need_key)

    def job(
        self,
        request: Request,
        *,
        schema: Schema | None = None,
        custom: Mapping[str, Callable[..., Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        calling: Callable[[], Mapping[str, str]] | None = None,
        records: Records | None = None,
        at: float | None = None,
        need_key: bool = True,
    ) -> Job:
        """Plan a request that is already in our own words, and return all that running it needs.

        `at` is the Unix time whose prices count (seconds; absent: now), `headers` go along with every upstream call,
        those that `calling` returns with the one that it is called before. `records` takes the story instead of the
        ledger. Raises RequestError as `run` does.
        """
        at = time.time() if at is None else at
        made = plan.make(request, self.policy, self.catalog, at=at, known=self._plans)
        if need_key and self._keyless:
            raise NoUpstreamKey(
                f"no API key: set the environment variable {self.policy.upstream.key_env}, give Router(api_key=...), "
                "or try it without a key: cheapfirst demo"
            )
        return Job(
            request=request,
            plan=made,
            route=self.policy.routes[request.task],
            policy=self.policy,
            catalog=self.catalog,
            upstream=self.upstream,
            ledger=self.ledger if records is None else records,
            aftermath=self._aftermath,
            schema=schema,
            custom=self._custom if custom is None else custom,
            headers=headers or {},
            calling=calling,
        )


class AsyncStream:
    """The text of one answer, piece by piece; `answer` holds the whole of it once the text has ended."""

    def __init__(self, items: AsyncGenerator[list[Wire] | Answer, None]) -> None:
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
                    continue
                for chunk in item:
                    if text := _piece(chunk):
                        shown = True
                        yield text
        finally:
            await self._items.aclose()

    async def aclose(self) -> None:
        """Stop early: the upstream call is cancelled and the request recorded as cancelled."""
        await self._items.aclose()


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
