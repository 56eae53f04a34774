"""What every page, report and alarm reads: sums, series, reasons and requests of a ledger, for a window of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal, rollup
from cheapfirst.ledger.latency import Latency, merged
from cheapfirst.ledger.report import Lost
from cheapfirst.ledger.rollup import By, Span
from cheapfirst.ledger.rows import AttemptRow, RequestRow
from cheapfirst.money import from_pico

BY: tuple[By, ...] = rollup.BY[1:]
"""What requests can be grouped by. Tier and model are those that answered, "" where none did."""

MOST_STEPS = 10_000
"""Steps of one series."""

MOST_ROWS = 1_000
"""Requests of one page."""


class Window(Struct, frozen=True):
    """A time from `since` on and before `until`, in Unix seconds."""

    since: float
    until: float


class Totals(Struct, frozen=True, kw_only=True):
    """The requests of one group, step, or all. Money is USD, exact, and at least that where something is unknown."""

    name: str = ""  # of the group; "" for all, and for requests that name none
    at: float | None = None  # Unix seconds at which the step of a series begins; None: no series
    requests: int = 0
    cheap_planned: int = 0  # planned on the policy's cheapest tier
    cheap_resolved: int = 0  # of these, accepted on that tier
    accepted: int = 0  # requests are accepted + returned + cancelled + failed
    returned: int = 0  # a rejected answer was handed out
    cancelled: int = 0  # the caller went away
    failed: int = 0
    escalated: int = 0
    forced: int = 0
    attempts: int = 0
    retries: int = 0
    failovers: int = 0
    cutoffs: int = 0
    downgrades: int = 0
    reasks: int = 0
    repaired: int = 0  # the answer handed out was not strictly what was asked for, and was repaired
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal = Decimal(0)  # of all attempts whose cost is known
    cost_unknown: int = 0  # requests with an attempt whose cost is unknown
    unknown_attempts: int = 0
    baseline: Decimal = Decimal(0)  # on the premium model alone, of the requests for which it is known
    baseline_unknown: int = 0  # requests
    wasted: Decimal = Decimal(0)  # known cost of attempts whose answer was not handed out
    compared: int = 0  # requests whose cost and baseline are both known
    compared_cost: Decimal = Decimal(0)  # of these
    compared_baseline: Decimal = Decimal(0)  # of these
    latency_direct: Latency = Latency()  # requests that were not escalated
    latency_escalated: Latency = Latency()

    @property
    def latency(self) -> Latency:
        """Of all requests."""
        return Latency(merged((self.latency_direct.counts, self.latency_escalated.counts)))

    @property
    def saved(self) -> Decimal:
        """USD less than the premium model alone, over the compared requests; negative: more."""
        return self.compared_baseline - self.compared_cost

    @property
    def saved_share(self) -> float | None:
        """`saved` as a share of what the premium model alone would have cost; None: that is 0."""
        return float(self.saved / self.compared_baseline) if self.compared_baseline else None


class ModelFigures(Struct, frozen=True, kw_only=True):
    """The upstream calls that one model of one provider served, won or not. Money is USD, exact."""

    model: str
    provider: str  # "": not said
    attempts: int = 0
    won: int = 0  # its answer was handed out
    answers: int = 0  # outcomes: attempts are answers + cutoffs + refusals + doomed + faults
    rejected: int = 0  # judged, and not accepted
    cutoffs: int = 0
    refusals: int = 0
    doomed: int = 0  # cut short by the guard
    faults: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal = Decimal(0)
    cost_unknown: int = 0  # attempts
    wasted: Decimal = Decimal(0)  # of those not won
    priced_prompt_tokens: int = 0  # of the attempts whose cost and usage are both known
    priced_completion_tokens: int = 0
    priced_cost: Decimal = Decimal(0)
    latency: Latency = Latency()  # of the calls

    @property
    def price(self) -> Decimal | None:
        """What was paid, in USD per million tokens, prompt and answer together; None: nothing to tell it from."""
        tokens = self.priced_prompt_tokens + self.priced_completion_tokens
        return self.priced_cost * 1_000_000 / tokens if tokens > 0 else None


class Reason(Struct, frozen=True, kw_only=True):
    """How often something happened. A request with two reasons counts under both."""

    kind: str
    """`ending`: how requests ended. `verdict`: codes of the verdicts that rejected, once a request. `escalation`: codes
    of the verdict before an attempt one tier up ("": it named none). `fault`: names of attempts' faults. `outcome`:
    attempts that were cut-off, refusal or doomed."""

    reason: str
    count: int
    task: str = ""
    at: float | None = None  # Unix seconds at which the step begins; None: no steps


class Filters(Struct, frozen=True, kw_only=True):
    """Which requests; None: any. "" means that none is named."""

    window: Window | None = None
    task: str | None = None
    feature: str | None = None
    tenant: str | None = None
    key: str | None = None
    session: str | None = None
    tier: str | None = None  # that answered
    model: str | None = None  # that answered
    policy: str | None = None  # hash
    ending: str | None = None
    escalated: bool | None = None
    unknown: bool | None = None  # an attempt's cost is unknown
    reason: str | None = None  # one of its verdict codes


class Recorded(Struct, frozen=True):
    """One request, as its row has it."""

    row: RequestRow

    @property
    def cost(self) -> Decimal | None:
        """USD; None: the cost of an attempt is unknown, and `known_cost` is at least what it was."""
        return from_pico(self.row.cost)

    @property
    def known_cost(self) -> Decimal:
        """USD of the attempts whose cost is known."""
        return from_pico(self.row.cost_known) or Decimal(0)

    @property
    def baseline(self) -> Decimal | None:
        """USD on the premium model alone; None: unknown."""
        return from_pico(self.row.baseline)


class Page(Struct, frozen=True):
    """Some requests, the latest first."""

    requests: tuple[Recorded, ...] = ()
    before: tuple[float, str] | None = None  # give it to get the next page; None: this is the last


class Whole(Struct, frozen=True):
    """A request with everything that the ledger holds of it."""

    request: Recorded
    attempts: tuple[AttemptRow, ...]  # their money is picodollars
    plan: dict[str, Any] | None  # None: it is not in the ledger


class Backlog(Struct, frozen=True):
    """What waits beside the database."""

    journals: int
    bytes: int  # the database may have some of it already


class Figures:
    """A ledger, for reading: a file. One that does not exist yet answers like an empty one.

    Safe from several threads. Every method raises LedgerError when the ledger cannot be read.
    """

    def __init__(self, address: str | Path) -> None:
        from cheapfirst.ledger.reading import open_source

        self._source = open_source(address)
        self._path = Path(address)

    def total(self, window: Window, *, by: By | None = None, name: str | None = None) -> Totals:
        """All requests of the window, or those of one group: `by` and `name` together."""
        found = self._source.groups(window, _by(by, name), name or "")
        return _totals(found.values(), name or "")

    def groups(self, window: Window, by: By, *, limit: int | None = None) -> list[Totals]:
        """The groups of the window, dearest first."""
        kept: dict[str, list[rollup.Group]] = {}
        for (_, name), group in self._source.groups(window, _by(by, ""), None).items():
            kept.setdefault(name, []).append(group)
        found = sorted(
            (_totals(groups, name) for name, groups in kept.items()),
            key=lambda one: (-one.cost, -one.requests, one.name),
        )
        return [one for one in found if one.requests][:limit]

    def policies(self, window: Window) -> list[Totals]:
        """The policies' groups, by content hash, dearest first."""
        return self.groups(window, "policy")

    def series(self, window: Window, step: Span, *, by: By | None = None, name: str | None = None) -> list[Totals]:
        """Every hour or day (of UTC) that the window touches, oldest first, the empty ones too; each holds what of it
        is in the window. Raises LedgerError when there are more than MOST_STEPS."""
        kept: dict[int, list[rollup.Group]] = {at: [] for at in _steps(window, step)}
        for (at, _), group in self._source.groups(window, _by(by, name), name or "", step).items():
            kept[at - at % rollup.SPANS[step]].append(group)
        return [_totals(groups, name or "", at) for at, groups in kept.items()]

    def reasons(self, window: Window, *, task: str | None = None, step: Span | None = None) -> list[Reason]:
        """Why requests of the window, or of one task in it, went as they did, most frequent first; with a `step`, for
        each hour or day that has any, oldest first."""
        kept: dict[tuple[int, str, str, str], int] = {}
        for (at, of, kind, reason), count in self._source.reasons(window, step).items():
            if task is None or of == task:
                key = (at - at % rollup.SPANS[step] if step else 0, of, kind, reason)
                kept[key] = kept.get(key, 0) + count
        found = [
            Reason(kind=kind, reason=reason, count=count, task=of, at=at if step else None)
            for (at, of, kind, reason), count in kept.items()
            if count
        ]
        return sorted(found, key=lambda one: (one.at or 0, -one.count, one.kind, one.reason, one.task))

    def models(self, window: Window) -> list[ModelFigures]:
        """Each model of each provider, over the attempts of the window's requests, dearest first."""
        kept: dict[tuple[str, str], rollup.Made] = {}
        for (_, model, provider), made in self._source.made(window).items():
            kept.setdefault((model, provider), rollup.Made()).merge(made)
        found = [_model(model, provider, made) for (model, provider), made in kept.items()]
        return sorted(
            (one for one in found if one.attempts),
            key=lambda one: (-one.cost, -one.attempts, one.model, one.provider),
        )

    def requests(
        self, filters: Filters | None = None, *, before: tuple[float, str] | None = None, limit: int = 50
    ) -> Page:
        """The latest requests that the filters let through; `before` is the last page's."""
        limit = max(1, min(MOST_ROWS, limit))
        found = self._source.requests(filters or Filters(), before, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return Page(tuple(Recorded(row) for row in found[:limit]), (last.time, last.id) if last is not None else None)

    def request(self, id: str) -> Whole | None:
        """One request by its id; None: the ledger has none, or not yet."""
        found = self._source.request(id)
        if found is None:
            return None
        row, attempts, plan = found
        return Whole(Recorded(row), attempts, msgspec.json.decode(plan) if plan is not None else None)

    def losses(self, window: Window) -> Lost:
        """What of the window the ledger does not hold."""
        return self._source.losses(window)

    def backlog(self) -> Backlog:
        """What waits in the journals beside the ledger on this machine."""
        sizes = []
        for path in journal.present(journal.directory(self._path)):
            try:
                sizes.append(path.stat().st_size)
            except OSError:  # brought in meanwhile
                continue
        return Backlog(len(sizes), sum(sizes))

    def close(self) -> None:
        """Let go of the ledger."""
        self._source.close()


def _by(by: By | None, name: str | None) -> By:
    if by is None or by == "":
        if name is not None:
            raise LedgerError(f"a group named {name!r} of what? Give `by`: one of {', '.join(BY)}.")
        return ""
    if by not in BY:
        raise LedgerError(f"requests cannot be grouped by {by!r}. Allowed: {', '.join(BY)}.")
    if name is None:
        raise LedgerError(f"which {by}? Give `name` too.")
    return by


def _steps(window: Window, step: Span) -> range:
    length = rollup.SPANS[step]
    first = rollup.hour(window.since) // length * length
    steps = range(first, max(first, -int(-window.until // 1)), length)
    if len(steps) > MOST_STEPS:
        raise LedgerError(f"{len(steps)} steps of one {step} each are too many: {MOST_STEPS} at most.")
    return steps


def _totals(groups: Iterable[rollup.Group], name: str, at: float | None = None) -> Totals:
    whole = rollup.Group()
    for group in groups:
        whole.merge(group)
    return Totals(
        name=name,
        at=at,
        latency_direct=Latency(merged([whole.direct])),
        latency_escalated=Latency(merged([whole.escalated])),
        **_named(whole.sums, rollup.COUNTS, rollup.MONEY),
    )


def _model(model: str, provider: str, made: rollup.Made) -> ModelFigures:
    return ModelFigures(
        model=model,
        provider=provider,
        latency=Latency(merged([made.times])),
        **_named(made.sums, rollup.MADE_COUNTS, rollup.MADE_MONEY),
    )


def _named(sums: list[int], counts: tuple[str, ...], money: tuple[str, ...]) -> Mapping[str, Any]:
    """Sums under their names, money in USD."""
    whole = len(counts)
    return dict(zip(counts, sums[:whole], strict=True)) | {
        name: from_pico(pico) for name, pico in zip(money, sums[whole:], strict=True)
    }
