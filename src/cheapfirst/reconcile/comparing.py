"""The whole comparison: every call of the ledger with the upstream's page about it, every day with its activity."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from cheapfirst.catalog import Catalog
from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder, generations
from cheapfirst.ledger.generations import Generation
from cheapfirst.messages import Fault, Settled
from cheapfirst.money import from_pico
from cheapfirst.reconcile import differences
from cheapfirst.reconcile.asking import REFUSED, Asker
from cheapfirst.reconcile.differences import Days, Difference, Kind, Said
from cheapfirst.reconcile.kept import Kept, beside

if TYPE_CHECKING:
    from cheapfirst.upstream import Upstream

AT_ONCE = 8
"""Pages asked for at the same time."""

NAMED = 10_000
"""Differences that are named one by one; all are counted."""

DAY = 86_400.0
LOOKED_BACK = 30 * DAY  # seconds of which the upstream tells the activity


class Sum(Struct, kw_only=True):
    """The differences of one kind."""

    count: int = 0
    amount: Decimal = Decimal(0)  # USD there more than here, where the kind is about money


class Reconciled(Struct, kw_only=True):
    """What a comparison found."""

    ledger: str
    base_url: str
    since: float  # Unix seconds
    until: float  # Unix seconds, not included
    calls: int = 0  # upstream calls of the ledger
    without_id: int = 0  # of these, those whose answer the upstream gave no id: they can't be asked for
    compared: int = 0
    equal: int = 0
    cost_here: Decimal = Decimal(0)  # USD, of the compared calls, as far as known
    cost_there: Decimal = Decimal(0)
    not_asked: dict[str, int] = {}  # calls whose page did not come, by fault
    days: list[str] = []  # UTC days whose activity was compared
    kinds: dict[Kind, Sum] = {}
    differences: list[Difference] = []  # the first of them
    fixed: int = 0  # costs entered
    notes: list[str] = []  # what could not be compared, and why

    def add(self, found: Difference) -> None:
        """Count a difference, and name it while there is room."""
        sums = self.kinds.setdefault(found.kind, Sum())
        sums.count += 1
        sums.amount += found.amount or Decimal(0)
        if len(self.differences) < NAMED:
            self.differences.append(found)


async def reconcile(
    ledger: Path,
    upstream: Upstream,
    catalog: Catalog,
    *,
    base_url: str,
    since: float,
    until: float,
    now: float | None = None,
    management: Upstream | None = None,
    key_hash: str | None = None,
    fix: bool = False,
    again: bool = False,
    progress: Callable[[int], None] = lambda compared: None,
) -> Reconciled:
    """Compare the ledger's calls from `since` on and before `until` (Unix seconds) with the upstream's books.

    What the upstream said is kept beside the ledger, so an interrupted comparison goes on where it was; `again` asks
    anew. `management` asks for the activity (OpenRouter wants a key of another kind); None: `upstream` does.
    `key_hash` limits the activity to one key. `fix` enters costs that the ledger lacks, as they would have been
    entered later. Raises LedgerError when the ledger cannot be read or the upstream lets nobody in.
    """
    now = time.time() if now is None else now
    found = Reconciled(ledger=str(ledger), base_url=base_url, since=since, until=until)
    if again:
        beside(ledger).unlink(missing_ok=True)
    if not ledger.parent.is_dir():
        found.notes.append(f"there is no ledger at {ledger} yet")
        return found
    kept = Kept(beside(ledger), base_url)
    recorder = Recorder(ledger) if fix else None
    days: Days = {}
    try:
        walk = _Walk(Asker(upstream), catalog, kept, recorder, found, now, progress)
        await walk.all(_counted(generations.read(ledger, since, until), days, catalog))
    finally:
        kept.close()
        if recorder is not None:
            recorder.close()
    await _days(Asker(management or upstream), catalog, days, key_hash, now, found)
    return found


def _counted(calls: Iterator[Generation], days: Days, catalog: Catalog) -> Iterator[Generation]:
    """The calls, each counted under its day on the way."""
    for call in calls:
        differences.add_generation(days, call, catalog)
        yield call


class _Walk:
    """Compares call after call, a few at a time."""

    def __init__(
        self,
        asker: Asker,
        catalog: Catalog,
        kept: Kept,
        recorder: Recorder | None,
        found: Reconciled,
        now: float,
        progress: Callable[[int], None],
    ) -> None:
        self._asker = asker
        self._catalog = catalog
        self._kept = kept
        self._recorder = recorder
        self._found = found
        self._now = now
        self._progress = progress

    async def all(self, calls: Iterator[Generation]) -> None:
        """Compare all; workers take from the same iterator, so no more is read ahead than is asked for."""
        tasks = [asyncio.create_task(self._work(calls)) for _ in range(AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._found.differences.sort(key=lambda one: (one.request_id or "", one.attempt or 0))

    async def _work(self, calls: Iterator[Generation]) -> None:
        for call in calls:
            self._found.calls += 1
            if call.generation_id is None:
                self._found.without_id += 1
                continue
            said: Said | Fault | None = self._kept.get(call.generation_id)
            if said is None:
                said = await self._asker.generation(call.generation_id, age=self._now - call.time)
                if isinstance(said, Said):
                    self._kept.put(said)
            if isinstance(said, Fault):
                self._refused(said)
                continue
            self._compare(call, said)

    def _refused(self, fault: Fault) -> None:
        if fault.name in REFUSED:
            raise LedgerError(
                f"the ledger cannot be compared with {self._found.base_url}: {fault.name}: {fault.sentence}"
            )
        self._found.not_asked[fault.name] = self._found.not_asked.get(fault.name, 0) + 1

    def _compare(self, call: Generation, said: Said | None) -> None:
        found = self._found
        found.compared += 1
        found.cost_here += from_pico(call.cost) or Decimal(0)
        found.cost_there += (said.cost if said is not None else None) or Decimal(0)
        different = list(differences.of_generation(call, said, self._catalog))
        for one in different:
            found.add(one)
        found.equal += not different
        if call.cost is None and said is not None and said.cost is not None and self._recorder is not None:
            self._recorder.settle(
                Settled(
                    request_id=call.request_id,
                    attempt=call.number,
                    cost=said.cost,
                    usage=said.usage,
                    reported_cost=said.cost,
                    generation_id=said.id,
                    model=self._catalog.served(said.model, asked=call.model_asked, alone=False),
                    provider=said.provider,
                )
            )
            found.fixed += 1
        if found.compared % 100 == 0:
            self._progress(found.compared)


async def _days(
    asker: Asker, catalog: Catalog, here: Days, key_hash: str | None, now: float, found: Reconciled
) -> None:
    """Compare whole UTC days that are over and lie in the period, as far as the upstream tells of them."""
    dates = list(_whole_days(found.since, found.until, now))
    if not dates:
        found.notes.append("no whole UTC day that is over lies in the period, so no day's activity was compared")
        return
    rows = await asker.activity(key_hash)
    if isinstance(rows, Fault):
        hint = " It wants a management key: --management-key-env" if rows.name in ("unauthorized", "forbidden") else ""
        found.notes.append(f"the activity by day was not compared: {rows.name}: {rows.sentence}{hint}")
        return
    found.days = dates
    for one in differences.of_days(here, differences.read_activity(rows, catalog), dates):
        found.add(one)


def _whole_days(since: float, until: float, now: float) -> Iterator[str]:
    first = max(since, now - LOOKED_BACK)
    at = -(-first // DAY) * DAY
    while at + DAY <= min(until, now):
        yield differences.date_of(at)
        at += DAY
