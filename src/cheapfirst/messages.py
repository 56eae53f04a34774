"""The words of cheapfirst as types: request, plan, attempt, outcome, verdict, answer. Data only, no behaviour.

Units: money is USD (`Decimal`, exact, see `money`), time is seconds, sizes are tokens. `None` means unknown
where the comment says unknown, absent where it says absent.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct, field, structs

Shape: TypeAlias = Literal["json", "text", "stream"]
StreamMode: TypeAlias = Literal["off", "pass", "hold", "guard"]
"""How a streamed answer reaches the caller: at once, after its verdict, or after it and cut early when it is doomed."""

Form: TypeAlias = Literal["json_schema", "json_object", "prompt", "tools", "none"]
"""How a structured answer is asked for on the wire; `prompt` means by instructions alone."""

On: TypeAlias = Literal["start", "retry", "downgrade", "cut-off", "fault", "re-ask", "reject"]
"""Why an attempt stands in the plan: which signal of the one before leads to it."""

OutcomeKind: TypeAlias = Literal["answer", "cut-off", "refusal", "fault", "doomed"]
Path: TypeAlias = tuple[str | int, ...]
Wire: TypeAlias = dict[str, Any]
"""A JSON object of the chat-completions protocol, passed through: fields we do not know survive."""


class Request(Struct, frozen=True, kw_only=True):
    """One request as the caller made it."""

    id: str  # "req_" + 26 characters, sortable by time
    task: str
    body: Wire  # messages and any other wire fields; no `model`, no `stream`
    schema: Wire | None = None  # JSON Schema of the wanted value; absent for free text
    source: str | None = None  # the text that `grounded` compares with; absent: the user's messages
    feature: str | None = None
    tenant: str | None = None
    session: str | None = None
    key: str | None = None  # id of the virtual key that asked (never the key itself); absent: none did
    user_facing: bool | None = None  # absent: as the route says
    tier: str | None = None  # forced tier; absent: as the policy says
    model: str | None = None  # forced model; absent: as the policy says
    stream: bool = False
    checks: tuple[Any, ...] = ()  # more checks than the route's: `policy.table.Check` structs


class Planned(Struct, frozen=True, kw_only=True):
    """One attempt that the plan allows."""

    on: On
    tier: str
    model: str
    form: Form
    max_tokens: int
    fallbacks: tuple[str, ...] = ()  # further models for the upstream's own `models` array
    worst_case: Decimal | None = None  # USD if the whole room is used; None: price unknown
    reasons: tuple[str, ...] = ()  # sentences: why it stands there


class Skipped(Struct, frozen=True, kw_only=True):
    """A model that the policy names but that does not fit this request."""

    tier: str
    model: str
    reason: str


_NOT_IN_BLUEPRINT = ("prompt_tokens", "blueprint")


class Blueprint(Struct, frozen=True):
    """What a plan has in common with many others: all of it but the prompt's size and what that makes it cost."""

    hash: str  # of the text, 16 hex digits
    text: str  # the plan as JSON, without `prompt_tokens` and without the attempts' `worst_case`

    @classmethod
    def of(cls, plan: Plan) -> Blueprint:
        """The plan's blueprint; equal plans of differently long prompts have the same one."""
        told = {name: value for name, value in structs.asdict(plan).items() if name not in _NOT_IN_BLUEPRINT}
        told["attempts"] = [
            {name: value for name, value in structs.asdict(planned).items() if name != "worst_case"}
            for planned in plan.attempts
        ]
        text = msgspec.json.encode(told)
        return cls(sha256(text).hexdigest()[:16], text.decode())


class Plan(Struct, frozen=True, kw_only=True):
    """The attempts allowed for one request, with reasons. Computed without I/O."""

    task: str
    shape: Shape
    tier: str  # the tier it starts on
    attempts: tuple[Planned, ...]
    tiers: tuple[str, ...] = ()  # the policy's tiers, cheapest first; empty: not said
    skipped: tuple[Skipped, ...] = ()
    reasons: tuple[str, ...] = ()  # sentences: why this tier, these checks, this mode
    forced: bool = False
    mode: StreamMode = "off"
    checks: tuple[str, ...] = ()  # the checks' names, for people
    retries: int = 2  # same attempt again after a passing fault, at most
    max_attempts: int = 6  # upstream calls in all, whatever happens
    deadline: float = 120.0  # seconds, over all attempts
    max_cost: Decimal | None = None  # USD, over all attempts; absent: no ceiling
    on_reject: Literal["raise", "return"] = "raise"
    prompt_tokens: int = 0  # estimate
    policy_hash: str = ""
    blueprint: Blueprint | None = None  # None: not made yet


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them."""

    prompt_tokens: int = 0  # includes cached and cache-written ones
    completion_tokens: int = 0  # includes reasoning
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class Fault(Struct, frozen=True, kw_only=True):
    """How an upstream call failed, and what may be done about it."""

    name: str  # one of `upstream.faults.FAULTS`
    sentence: str  # for people; holds no message text and no key
    status: int | None = None  # HTTP status, or the code of an error body; absent when none came
    error_type: str | None = None  # the upstream's own word; absent when it gave none
    retry: bool = False  # the same call may be made again
    failover: bool = False  # another model may be tried
    downgrade: bool = False  # the same model with a weaker structured-output form may be tried
    cheaper: bool = False  # only a call with less room or a lower price may be tried
    retry_after: float | None = None  # seconds the upstream asked for; absent when it did not


class Outcome(Struct, frozen=True, kw_only=True):
    """What came back from one upstream call."""

    kind: OutcomeKind
    message: Wire = field(default_factory=dict)  # choices[0].message, or the same assembled from a stream
    text: str = ""  # the message's text content, exactly
    finish: str | None = None  # finish_reason; None: none was sent
    native_finish: str | None = None
    model: str | None = None  # as served, as the wire spells it; None: not said
    provider: str | None = None
    generation_id: str | None = None
    usage: Usage | None = None  # None: unknown
    reported_cost: Decimal | None = None  # USD, both BYOK parts added; None: not reported
    fee: Decimal | None = None  # USD, the BYOK part that was reported where the other was not; absent: no such case
    fault: Fault | None = None
    duration: float = 0.0  # seconds
    first_token: float | None = None  # seconds to the first content or reasoning; None: not streamed
    body: Wire | None = None  # the whole answer body, as it came or put together from its stream; absent: a fault
    doom: Finding | None = None  # kind `doomed`: what the guard saw, so that it cut the answer short


class Step(Struct, frozen=True, kw_only=True):
    """One step of a parse trail: what was done to read the value, and where."""

    kind: str  # strict, unfenced, repaired.<what>, aligned.<what>; documented in docs/reference/parsing.md
    note: str = ""  # for people; never the answer's text
    path: Path = ()  # where in the value
    position: int | None = None  # offset in the text (characters); absent when it has none


class Finding(Struct, frozen=True, kw_only=True):
    """One thing a check found wrong."""

    check: str  # the check's name: schema, grounded, length, parse, ...
    code: str  # machine-readable reason, e.g. schema.required; starts with the check's name
    sentence: str  # for people; may quote the answer, so it stays out of logs and the ledger
    path: Path = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """Accept, or reject with every reason found."""

    accept: bool
    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()  # names of the checks that ran


class Attempt(Struct, frozen=True, kw_only=True):
    """One upstream call as it happened: what was planned, what came back, what it cost."""

    number: int  # 1-based within the request
    planned: Planned
    on: On  # the signal that led here; `retry` for a repeated call
    outcome: Outcome
    verdict: Verdict | None = None  # absent when there was nothing to judge
    trail: tuple[Step, ...] = ()
    value: Any = None
    model: str  # served, normalised to the catalog's spelling; the asked one when the wire did not say
    cost: Decimal | None = None  # USD; the reported one wins over the computed; None: unknown
    computed_cost: Decimal | None = None  # USD from usage and catalog; None: unknown
    started: float = 0.0  # seconds since the request began


class Answer(Struct, frozen=True, kw_only=True):
    """The winning answer and the whole story of how it came to be."""

    value: Any  # parsed (and converted to the caller's type); the text itself for free text
    text: str  # the exact text of the winning attempt
    model: str
    tier: str
    cost: Decimal | None  # USD over all attempts; None: unknown
    baseline: Decimal | None  # USD on the premium model alone; None: unknown
    escalated: bool
    telling: Callable[[], str]  # makes `why`
    attempts: tuple[Attempt, ...]
    verdict: Verdict
    request_id: str
    task: str
    plan: Plan
    message: Wire  # the winning attempt's message: tool calls, reasoning details and all
    forced: bool = False
    winner: int = 0  # number of the winning attempt; 0: not said

    @property
    def why(self) -> str:
        """The story in sentences."""
        return self.telling()

    @property
    def won(self) -> Attempt:
        """The winning attempt."""
        return self.attempts[self.winner - 1]

    @property
    def saved(self) -> Decimal | None:
        """USD saved against the baseline (negative when escalation cost more); None when either is unknown."""
        if self.cost is None or self.baseline is None:
            return None
        return self.baseline - self.cost


class Settled(Struct, frozen=True, kw_only=True):
    """What an attempt cost whose cost was unknown when its request was recorded."""

    request_id: str
    attempt: int  # its number
    cost: Decimal  # USD
    usage: Usage | None = None  # None: unknown
    reported_cost: Decimal | None = None  # USD as the upstream said; None: not said
    generation_id: str | None = None  # None: not known
    model: str | None = None  # that answered, in the catalog's spelling; None: not known
    provider: str | None = None  # None: not known


Ending: TypeAlias = Literal[
    "accepted", "returned", "rejected", "cut-off", "fault", "deadline", "ceiling", "cancelled", "error"
]
"""How a request ended. `returned`: a rejected answer handed back because the route says so."""


class Story(Struct, frozen=True, kw_only=True):
    """One finished request, whole: what the ledger records."""

    request: Request
    plan: Plan
    attempts: tuple[Attempt, ...]
    ending: Ending
    time: float  # Unix seconds when the request began
    duration: float  # seconds, until the answer was ready
    first_token: float | None = None  # seconds until the caller could see the first text; absent: not streamed
    winner: int | None = None  # number of the attempt whose answer was handed out; absent: none
    escalated: bool = False
    cost: Decimal | None = None  # USD over all attempts; None: unknown
    baseline: Decimal | None = None  # USD on the premium model alone; None: unknown
