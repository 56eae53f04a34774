"""Everything that can be set about a simulator, and how it is read from a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from cheapfirst.errors import SimulatorError, nearest
from cheapfirst.simulator.faults import FAULTS
from cheapfirst.simulator.models import DEFAULT_MODELS, SimModel


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a simulator behaves. The same options and requests give the same answers, faults and costs."""

    seed: int = 0
    models: tuple[SimModel, ...] = DEFAULT_MODELS
    faults: dict[str, float] = {}  # for every model: fault name -> share of requests; a model's own win
    replay: str | None = None  # path of a JSONL file of recorded answers; absent: answers are made up
    speed: float | None = None  # of replayed latencies: 1 as recorded, 10 ten times faster; absent: at once
    byok: bool = False  # bring-your-own-key billing: `usage.cost` is only the fee
    byok_fee: Decimal = Decimal("0.05")  # share of the provider's price; 0 within the free allowance
    keys: tuple[str, ...] = ()  # accepted API keys; none: any request is let in
    credits: Decimal | None = None  # USD on the account; absent: unlimited
    caching: bool = True  # prompt caches of the models that have one
    sticky: bool = True  # requests of a conversation stay on one host of a model
    generation_delay: float = 0.0  # seconds during which /generation answers 404
    retry_after: float = 1.0  # seconds, in faults that send Retry-After
    slow: float = 1.0  # seconds that the fault `slow` adds before the first token
    comments: int = 1  # comment lines before a stream's first chunk
    tokens_per_chunk: int = 4
    body_limit: int = 32 * 1024 * 1024  # bytes of a request
    entries: int = 200_000  # generations the books keep one by one; older ones stay in the totals

    def __post_init__(self) -> None:
        if not self.models and not self.replay:
            raise SimulatorError("a simulator needs at least one model")
        check_rates(self.faults, "faults")
        for model in self.models:
            check_rates(model.faults, f"models {model.id}: faults")
        if self.speed is not None and self.speed <= 0:
            raise SimulatorError(f"speed is above 0 (1 = as recorded), not {self.speed}; leave it out for no waiting")


def check_rates(rates: dict[str, float], where: str) -> None:
    """Raise SimulatorError unless every name is a fault and every rate a share between 0 and 1."""
    for name, rate in rates.items():
        if name not in FAULTS:
            raise SimulatorError(
                f"{where}: unknown fault {name!r}{nearest(name, FAULTS)}; see docs/reference/simulator.md"
            )
        if not 0 <= rate <= 1:
            raise SimulatorError(f"{where}: {name} = {rate}: a share of requests is between 0 and 1")


def read_options(
    file: Path | None = None,
    *,
    seed: int | None = None,
    faults: Iterable[str] = (),
    replay: Path | None = None,
) -> Options:
    """Read options from a TOML or JSON file; the other arguments (`faults` as `name=share`) win over it.

    Raises SimulatorError for an unreadable file, an unknown option or fault, or a share outside 0 to 1.
    """
    options = _load(file) if file else Options()
    rates = dict(options.faults)
    for entry in faults:
        name, _, rate = entry.partition("=")
        try:
            rates[name.strip()] = float(rate) if rate else 1.0
        except ValueError:
            raise SimulatorError(f"fault {entry!r}: write name=share, like {name}=0.1") from None
    return msgspec.structs.replace(
        options,
        seed=options.seed if seed is None else seed,
        faults=rates,
        replay=options.replay if replay is None else str(replay),
    )


def _load(file: Path) -> Options:
    try:
        text = file.read_bytes()
        # Through JSON, because there decimals keep the digits that were written.
        plain = text if file.suffix == ".json" else msgspec.json.encode(tomllib.loads(text.decode()))
        return msgspec.json.decode(plain, type=Options)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise SimulatorError(f"{file}: {error}") from error
