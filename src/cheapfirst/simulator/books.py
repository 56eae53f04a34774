"""The simulator's own books: every generation it billed, in whole picodollars, delivered or not."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from msgspec import Struct, field

PICO = 10**12
_MUTE = frozenset({"no_usage", "no_cost", "length_error_chunk"})  # the whole answer comes, but not its cost


def plain(pico: int) -> str:
    """Whole picodollars as a decimal USD string without exponent or trailing zeros."""
    sign, size = ("-", -pico) if pico < 0 else ("", pico)
    whole, part = divmod(size, PICO)
    return f"{sign}{whole}.{part:012d}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"


class Bill(Struct, frozen=True, kw_only=True):
    """What one generation used and cost. Tokens as billed; money in picodollars."""

    prompt: int = 0  # includes cached and written
    completion: int = 0  # includes reasoning
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    upstream_prompt: int = 0  # the provider's price of the prompt
    upstream_completion: int = 0
    cost: int = 0  # what OpenRouter charges: `usage.cost`
    byok: bool = False
    recorded: bool = False  # the cost comes from a recording, its two parts are unknown

    @property
    def upstream(self) -> int:
        """The provider's price of the whole."""
        return self.upstream_prompt + self.upstream_completion

    @property
    def spent(self) -> int:
        """What the account's owner pays in all."""
        return self.cost + self.upstream if self.byok else self.cost


class Entry(Struct, kw_only=True):
    """One line of the books. It is open until the answer was handed over or lost."""

    id: str
    created: int  # Unix seconds
    model: str  # as asked for
    canonical: str
    provider: str
    streamed: bool
    bill: Bill
    faults: tuple[str, ...] = ()
    cancelled: bool = False  # the client left first
    delivered: bool = False  # the whole answer was handed to a client that was still there
    told: bool = False  # and so was its `usage.cost`
    finish: str | None = None
    native_finish: str | None = None
    session: str | None = None
    latency: float = 0.0  # seconds until the first token
    duration: float = 0.0  # seconds
    started: float = field(default_factory=time.monotonic)  # monotonic seconds
    closed: float = 0.0  # monotonic seconds; 0: still open
    host: int = 0

    def row(self) -> dict[str, Any]:
        """The line as `/_simulator/books` shows it."""
        bill = self.bill
        return {
            "id": self.id,
            "created": self.created,
            "model": self.model,
            "canonical": self.canonical,
            "provider": self.provider,
            "streamed": self.streamed,
            "prompt_tokens": bill.prompt,
            "completion_tokens": bill.completion,
            "cached_tokens": bill.cached,
            "cache_write_tokens": bill.written,
            "reasoning_tokens": bill.reasoning,
            "cost": plain(bill.cost),
            "upstream_cost": plain(bill.upstream),
            "spent": plain(bill.spent),
            "byok": bill.byok,
            "faults": list(self.faults),
            "cancelled": self.cancelled,
            "delivered": self.delivered,
            "told": self.told,
            "open": self.closed == 0.0,
            "finish_reason": self.finish,
            "session": self.session,
            "host": self.host,
        }


class Sums(Struct, kw_only=True):
    """Totals over closed generations; picodollars and tokens."""

    generations: int = 0
    delivered: int = 0
    undelivered: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    upstream: int = 0
    spent: int = 0
    cost_undelivered: int = 0
    cost_told: int = 0

    def add(self, entry: Entry, sign: int = 1) -> None:
        """Add one closed line, or with sign -1 take it out again."""
        bill = entry.bill
        self.generations += sign
        self.delivered += sign * entry.delivered
        self.undelivered += sign * (not entry.delivered)
        self.cancelled += sign * entry.cancelled
        self.prompt_tokens += sign * bill.prompt
        self.completion_tokens += sign * bill.completion
        self.cached_tokens += sign * bill.cached
        self.cost += sign * bill.cost
        self.upstream += sign * bill.upstream
        self.spent += sign * bill.spent
        self.cost_undelivered += 0 if entry.delivered else sign * bill.cost
        self.cost_told += sign * bill.cost if entry.told else 0

    def row(self) -> dict[str, Any]:
        """The totals as `/_simulator/books` shows them."""
        money = ("cost", "upstream", "spent", "cost_undelivered", "cost_told")
        return {name: plain(getattr(self, name)) if name in money else getattr(self, name) for name in _SUMS}


_SUMS = Sums.__struct_fields__


class Books(Struct, kw_only=True):
    """Every generation since the last reset. Totals count closed ones only."""

    limit: int  # lines kept one by one
    entries: dict[str, Entry] = field(default_factory=dict)
    order: deque[str] = field(default_factory=deque)
    total: Sums = field(default_factory=Sums)
    by_model: dict[str, Sums] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # errors before the first token: fault or status -> count
    requests: int = 0

    def open(self, entry: Entry) -> None:
        """Begin a line. The oldest closed lines make room beyond the limit (they stay in the totals)."""
        self.entries[entry.id] = entry
        self.order.append(entry.id)
        while len(self.order) > self.limit and self.entries[self.order[0]].closed:
            del self.entries[self.order.popleft()]

    def close(self, entry: Entry, *, delivered: bool, cancelled: bool = False, bill: Bill | None = None) -> None:
        """Settle a line; a line that was settled before is settled anew (a last write that failed after all)."""
        sums = (self.total, self.by_model.setdefault(entry.model, Sums()))
        if entry.closed:
            for each in sums:
                each.add(entry, -1)
        entry.delivered, entry.cancelled, entry.closed = delivered, cancelled, time.monotonic()
        entry.told = delivered and _MUTE.isdisjoint(entry.faults)
        entry.bill = entry.bill if bill is None else bill
        entry.duration = entry.closed - entry.started
        for each in sums:
            each.add(entry)

    def refuse(self, name: str) -> None:
        """Count an error before the first token: nothing was billed."""
        self.refused[name] = self.refused.get(name, 0) + 1

    def page(self) -> dict[str, Any]:
        """The books as `/_simulator/books` shows them."""
        return {
            "simulated": True,
            "requests": self.requests,
            "refused": dict(sorted(self.refused.items())),
            "open": sum(1 for entry in self.entries.values() if not entry.closed),
            "total": self.total.row(),
            "by_model": {model: sums.row() for model, sums in sorted(self.by_model.items())},
            "generations": [entry.row() for entry in self.entries.values()],
        }
