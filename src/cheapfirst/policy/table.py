"""The policy as data: tiers, routes, limits, models, upstream. Loading, validating and diffing live beside it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct, field

from cheapfirst.catalog.model import ModelOverride
from cheapfirst.messages import Shape, StreamMode
from cheapfirst.policy.checks import Check


class Tier(Struct, frozen=True, kw_only=True):
    """A price class: its models in order of preference. The first is tried first, the rest on provider faults."""

    name: str
    models: tuple[str, ...]


class LongPrompt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompts estimated over `tokens` start on `tier` instead of the route's own."""

    tokens: int
    tier: str


class Route(Struct, frozen=True, kw_only=True):
    """One row of the policy: how a task is served."""

    task: str
    tier: str  # resolved when loaded: given, or derived from difficulty, shape and user_facing
    tier_reason: str  # sentence: why this tier
    shape: Shape = "text"
    difficulty: Literal["easy", "hard"] = "easy"
    user_facing: bool = False
    checks: tuple[Check, ...] = ()
    max_tokens: int = 4096  # room for the first attempt; cut-offs get `limits.room` times more
    temperature: float | None = None  # absent: 0 for json, the upstream's own otherwise
    stream: StreamMode = "hold"  # how `stream()` behaves: pass or hold
    escalate: bool = True  # go one tier up on a bad verdict
    reask: bool = False  # first ask the same model again, with the verdict
    on_reject: Literal["raise", "return"] = "raise"  # when the last tier's answer is bad
    align: tuple[str, ...] | None = None  # alignments allowed; absent: all
    long_prompt: LongPrompt | None = None
    prompt: str | None = None  # system instructions; absent: none added
    prompts: dict[str, str] = field(default_factory=dict)  # variants by tier or model; win over `prompt`
    params: dict[str, object] = field(default_factory=dict)  # further wire fields, e.g. reasoning, provider


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds. `total` bounds one attempt; `deadline` in limits bounds the request."""

    connect: float = 5.0
    first_token: float = 30.0
    silence: float = 30.0
    total: float = 90.0


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on one request, over all its attempts."""

    max_attempts: int = 6  # upstream calls
    retries: int = 2  # the same call again after a passing fault
    backoff: float = 0.25  # seconds before the first retry at most, doubled for each further one
    room: int = 4  # how many times more room after a cut-off
    escalations: int = 1  # tiers up
    deadline: float = 120.0  # seconds
    max_cost: Decimal | None = None  # USD; absent: no ceiling
    concurrency: int = 16  # requests at once in `batch`
    timeouts: Timeouts = Timeouts()


class BreakerOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When calls to a model that keeps failing are stopped for a while."""

    enabled: bool = True
    window: float = 30.0  # seconds looked back
    share: float = 0.5  # of the calls in the window, above 0 and up to 1: so many faults open it
    least: int = 20  # calls in the window before the share counts
    pause: float = 5.0  # seconds until one call tries again


class Upstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests go. The key itself never stands in the table, only the variable's name."""

    base_url: str = "https://openrouter.ai/api/v1"
    key_env: str = "OPENROUTER_API_KEY"
    title: str = "cheapfirst"  # attribution: X-OpenRouter-Title
    referer: str | None = None  # attribution: HTTP-Referer
    native_fallback: bool | None = None  # send the `models` array; absent: when base_url is OpenRouter's
    concurrency: int = 512  # calls at once, over all models
    queue: int = 1024  # calls waiting for one of them to end
    breaker: BreakerOptions = BreakerOptions()
    cancel: Literal["auto", "close", "drain"] = "auto"  # a call whose caller left; auto: as its provider bills it


class LedgerOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests are recorded."""

    path: str | None = None  # absent: CHEAPFIRST_LEDGER, else the user's data directory
    durability: Literal["process", "fsync"] = "process"  # survive the process, or the machine too


class GatewayOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the gateway takes on, and how long it waits."""

    requests: int = 1000  # served at once
    queue: int = 1000  # waiting for one of them to end; the next is turned away
    queue_wait: float = 10.0  # seconds in the queue, at most
    max_body: int = 20_000_000  # bytes of one request, unpacked
    body_wait: float = 30.0  # seconds that sending a request may take
    keep_alive: float = 5.0  # seconds of silence after which a waiting stream gets a comment
    drain: float = 30.0  # seconds that requests under way are given when the gateway stops


Scope: TypeAlias = Literal["key", "tenant", "feature", "task"]
"""What a budget or a rate is counted by."""

Per: TypeAlias = Literal["day", "month", "total"]
"""The period of a budget, in UTC."""


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one key, tenant, feature or task may spend. Exactly one of those four is given."""

    per: Per
    limit: Decimal  # USD
    key: str | None = None  # a key's name or id; "*": each key that has no budget of its own
    tenant: str | None = None  # likewise, as the next two
    feature: str | None = None
    task: str | None = None
    step_down: float | None = None  # share of the limit from which requests start on the cheapest tier; absent: never


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often one key, tenant, feature or task may ask. Exactly one of those four is given; absent: no limit."""

    key: str | None = None  # as in a budget
    tenant: str | None = None
    feature: str | None = None
    task: str | None = None
    requests: int | None = None  # per minute
    tokens: int | None = None  # per minute
    concurrent: int | None = None  # at once


SCOPES: tuple[Scope, ...] = ("key", "tenant", "feature", "task")


def scope_of(row: Budget | Rate) -> tuple[Scope, str]:
    """What a row is counted by, and whose it is (`*`: each of them)."""
    for scope in SCOPES:
        name = getattr(row, scope)
        if name is not None:
            return scope, name
    raise ValueError("the row names neither key, tenant, feature nor task")


class Policy(Struct, frozen=True, kw_only=True):
    """The whole table, validated."""

    tiers: tuple[Tier, ...]  # cheapest first
    routes: dict[str, Route]
    limits: Limits = Limits()
    models: dict[str, ModelOverride] = field(default_factory=dict)
    upstream: Upstream = Upstream()
    ledger: LedgerOptions = LedgerOptions()
    gateway: GatewayOptions = GatewayOptions()
    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()
    default_task: str = "chat"
    source: str = "built-in"  # the file it came from
    hash: str = ""  # content hash, 12 hex digits; equal for equal meaning

    def tier(self, name: str) -> Tier:
        """The tier of that name. Raises KeyError."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)

    @property
    def premium(self) -> Tier:
        """The last tier: what the baseline is computed on."""
        return self.tiers[-1]
