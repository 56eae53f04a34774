"""Answers from the ledger: what was saved, what escalated and why, what each task, feature, tenant and model cost."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from cheapfirst.ledger.period import moment

Moment: TypeAlias = str | float | datetime | timedelta
"""A point in time as `period.moment` reads it."""


class Group(Struct, frozen=True, kw_only=True):
    """The requests of one task (feature, tenant, model, policy), or all. Money is USD, exact."""

    name: str | None = None  # None: they name none; of a model: they got no answer
    requests: int = 0
    started_cheap: int = 0  # planned on the policy's cheapest tier
    resolved_cheap: int = 0  # of these, accepted on that tier
    resolved_share: float | None = None  # resolved_cheap / started_cheap; None: none started there
    resolved_share_of_all: float | None = None  # resolved_cheap / requests; None: no requests
    accepted: int = 0  # got an answer that passed its checks
    escalated: int = 0
    attempts: int = 0
    cost: Decimal = Decimal(0)  # of the attempts whose cost is known
    unknown_attempts: int = 0  # attempts whose cost is unknown
    compared: int = 0  # requests whose cost and baseline are both known; the next four are about these
    compared_cost: Decimal = Decimal(0)
    baseline: Decimal = Decimal(0)
    saved: Decimal = Decimal(0)  # baseline - compared_cost
    saved_share: float | None = None  # saved / baseline; None: the baseline is 0


class Escalation(Struct, frozen=True, kw_only=True):
    """How often a task's answers went one tier up for a reason. An escalation with two reasons counts under both."""

    task: str
    code: str | None  # verdict code; None: the verdict named none
    count: int


class Latency(Struct, frozen=True, kw_only=True):
    """Seconds until requests had ended, exact (nearest rank). None: there were no such requests."""

    name: str  # all, escalated, not escalated
    requests: int
    p50: float | None
    p95: float | None
    p99: float | None


class Wasted(Struct, frozen=True, kw_only=True):
    """Attempts whose answer was not handed out, by what came of them."""

    name: str  # rejected, cut-off, refusal, fault, unused
    attempts: int
    cost: Decimal  # USD, of those whose cost is known
    unknown_attempts: int


class Turns(Struct, frozen=True, kw_only=True):
    """How many attempts were made for another reason than the first or an escalation."""

    retries: int = 0
    failovers: int = 0
    cutoffs: int = 0
    downgrades: int = 0
    reasks: int = 0


class Lost(Struct, frozen=True, kw_only=True):
    """What the ledger does not hold."""

    dropped: int = 0  # requests that could not be recorded
    unreadable: int = 0  # journal lines that were torn or damaged
    last_reason: str | None = None  # None: nothing was lost
    last_time: float | None = None  # Unix seconds


class Report(Struct, frozen=True, kw_only=True):
    """Everything that the ledger says about a period."""

    ledger: str  # the file
    since: float | None  # Unix seconds; None: from the beginning
    until: float | None  # Unix seconds, not included; None: to the end
    note: str | None = None  # for people: why this is empty or not complete; None: it is neither
    first: float | None = None  # Unix seconds of the first and the last request; None: there are none
    last: float | None = None
    total: Group = Group()
    endings: dict[str, int] = {}
    turns: Turns = Turns()
    escalations: tuple[Escalation, ...] = ()  # most frequent first
    tasks: tuple[Group, ...] = ()  # groups: dearest first
    features: tuple[Group, ...] = ()
    tenants: tuple[Group, ...] = ()
    models: tuple[Group, ...] = ()  # attempts and cost: made with it; the rest: requests answered by it
    policies: tuple[Group, ...] = ()  # by content hash
    latency: tuple[Latency, ...] = ()
    wasted: tuple[Wasted, ...] = ()  # dearest first
    losses: Lost = Lost()

    @property
    def wasted_cost(self) -> Decimal:
        """USD spent on attempts whose answer was not handed out, as far as known."""
        return sum((part.cost for part in self.wasted), Decimal(0))


def report(path: Path, since: Moment | None = None, until: Moment | None = None) -> Report:
    """Return what the ledger at `path` says about the requests from `since` on and before `until`.

    What journals hold is brought in first, those of living processes included. An absent or empty ledger
    gives an empty report with a note. Raises LedgerError for a point in time that cannot be read and for a
    file that is not a ledger.
    """
    from cheapfirst.ledger import queries

    start = moment(since) if since is not None else None
    end = moment(until) if until is not None else None
    notes = queries.bring_in(path)
    if not path.exists():
        notes.append(f"there is no ledger at {path} yet: nothing has been recorded")
        return Report(ledger=str(path), since=start, until=end, note=_note(notes))
    found = queries.ask(path, start, end)
    if not found["total"].requests:
        notes.append("no requests are recorded" + (" yet" if start is None and end is None else " in this period"))
    return Report(ledger=str(path), since=start, until=end, note=_note(notes), **found)


def to_dict(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON data; amounts are strings, so that they stay exact."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def to_csv(report: Report) -> str:
    """Return the groups as CSV, one line each: `by` says the grouping (total, task, feature, tenant, model, policy)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("by", *Group.__struct_fields__))
    tables = {
        "total": (report.total,),
        "task": report.tasks,
        "feature": report.features,
        "tenant": report.tenants,
        "model": report.models,
        "policy": report.policies,
    }
    for by, groups in tables.items():
        for group in groups:
            cells = (getattr(group, name) for name in Group.__struct_fields__)
            writer.writerow((by, *(f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in cells)))
    return out.getvalue()


def _note(notes: list[str]) -> str | None:
    return "; ".join(notes) or None
