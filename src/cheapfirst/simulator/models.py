"""The simulated models: what each one is called, can do, costs and how badly it behaves."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from cheapfirst.errors import SimulatorError
from cheapfirst.simulator.answerer import Skill

LABEL = " (simulated)"
_COMMON = ("max_tokens", "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "reasoning")
_JSON = ("response_format", "structured_outputs")


class Override(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other prices when the prompt is longer than so many tokens, or within a window of the UTC day."""

    min_prompt_tokens: int | None = None  # applies strictly above; absent: at any length
    utc_start: str | None = None  # HHMM; absent: all day
    utc_end: str | None = None
    input: Decimal | None = None  # USD per million tokens; absent: as before
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class Latency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a model takes, in seconds."""

    first_token: float = 0.0
    per_token: float = 0.0


class Caching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model's provider caches prompts."""

    mode: str = "off"  # off, automatic (every prefix), explicit (up to a `cache_control` mark)
    min_tokens: int = 1024  # shorter prefixes are not cached
    ttl: float = 300.0  # seconds


class SimModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated model. Prices are USD per million tokens (`request`: USD per request)."""

    id: str  # author/slug, as asked for
    canonical: str = ""  # dated slug, as served; absent: the id
    provider: str = "Simulator"  # display name; " (simulated)" is added on the wire
    skill: Skill = "cheap"
    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cache_read: Decimal | None = None  # absent: the input price
    cache_write: Decimal | None = None  # absent: the input price
    request: Decimal = Decimal(0)
    overrides: tuple[Override, ...] = ()
    context: int = 131_072  # tokens
    max_output: int = 16_384  # tokens
    supported_parameters: tuple[str, ...] = _COMMON + _JSON
    input_modalities: tuple[str, ...] = ("text",)
    latency: Latency = Latency()
    faults: dict[str, float] = {}  # fault name -> share of requests, 0 to 1
    caching: Caching = Caching()
    hosts: int = 1  # providers' machines that do not share a prompt cache
    cancel_stops_billing: bool = True  # when the client hangs up in the middle of a stream

    def __post_init__(self) -> None:
        if not self.id:
            raise SimulatorError("a simulated model needs an id, like 'acme/small'")
        if self.hosts < 1 or self.context < 1 or self.max_output < 1:
            raise SimulatorError(f"simulated model {self.id!r}: hosts, context and max_output are at least 1")
        if self.caching.mode not in ("off", "automatic", "explicit"):
            raise SimulatorError(f"simulated model {self.id!r}: caching.mode is off, automatic or explicit")

    @property
    def slug(self) -> str:
        """The dated slug that the wire answers with."""
        return self.canonical or self.id

    @property
    def provider_name(self) -> str:
        """The provider as the wire names it, labelled as simulated."""
        return self.provider + LABEL

    def supports(self, parameter: str) -> bool:
        """Whether requests may use this parameter."""
        return parameter in self.supported_parameters


DEFAULT_MODELS = (
    SimModel(
        id="deepseek/deepseek-v4-flash",
        canonical="deepseek/deepseek-v4-flash-20260423",
        provider="DeepSeek",
        skill="cheap",
        input=Decimal("0.09"),
        output=Decimal("0.18"),
        cache_read=Decimal("0.009"),
        context=1_048_576,
        max_output=65_536,
        caching=Caching(mode="automatic", min_tokens=64, ttl=3600.0),
    ),
    SimModel(
        id="anthropic/claude-opus-4.8",
        canonical="anthropic/claude-4.8-opus-20260528",
        provider="Anthropic",
        skill="premium",
        input=Decimal(5),
        output=Decimal(25),
        cache_read=Decimal("0.5"),
        cache_write=Decimal("6.25"),
        context=1_000_000,
        max_output=128_000,
        input_modalities=("text", "image", "file"),
        caching=Caching(mode="explicit", min_tokens=4096, ttl=300.0),
    ),
)
"""The two models of the built-in policy, at the sample prices of the documentation."""
