"""Enters the calls of other tools' logs in the ledger, each once, however often and from how many files they come."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, structs

from cheapfirst.catalog import Catalog
from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal, rows, store
from cheapfirst.ledger.importing import files, langfuse, litellm, openai, telling
from cheapfirst.ledger.importing.cells import at_path
from cheapfirst.ledger.importing.entry import LABELS, Entry, Malformed, Row, Skip
from cheapfirst.messages import Story
from cheapfirst.policy import Policy

Reader = Callable[[Row], Entry | Skip]

SOURCES: dict[str, Reader] = {"litellm": litellm.entry, "langfuse": langfuse.entry, "openai": openai.entry}
"""The tools whose logs are understood, and what understands a row of each."""

TOGETHER = 1000
"""Calls that are entered together: an interrupted import keeps all but the last of them."""

NAMED = 100
"""Rows that could not be read which the summary names one by one; the others are counted."""

REMOVE = 8 * 2**20  # bytes after which a journal whose lines are in is replaced by a new one
WAIT = 60.0  # seconds to wait for another writer of the database


class Options(Struct, frozen=True, kw_only=True):
    """What the caller knows that the log does not say."""

    task: str = telling.IMPORTED  # of requests whose log names none
    maps: Mapping[str, str] = {}  # label -> path in the row, wins over where the log usually has it
    dry_run: bool = False  # enter nothing


DEFAULTS = Options()


class Bad(Struct, frozen=True):
    """A row that could not be read."""

    file: str
    line: int  # where the row begins, from 1
    why: str


class ModelSum(Struct, frozen=True):
    """What was imported of one model."""

    model: str  # in the catalog's spelling where it knows the model
    requests: int = 0
    cost: Decimal = Decimal(0)  # USD, of those whose cost is known
    unknown: int = 0  # requests whose cost is unknown


class Summary(Struct, kw_only=True):
    """What an import did. Sums are over the requests that it entered (or would have, in a dry run)."""

    ledger: str
    dry_run: bool = False
    read: int = 0  # rows
    imported: int = 0
    present: int = 0  # were in the ledger already
    skipped: dict[str, int] = {}  # rows that are not calls to import, by why
    malformed: int = 0  # rows that could not be read
    bad: list[Bad] = []  # the first of these
    cost: Decimal = Decimal(0)  # USD, of the requests whose cost is known
    said: int = 0  # requests whose cost the log says
    computed: int = 0  # requests whose cost is their tokens at the catalog's prices
    unknown: int = 0  # requests whose cost is unknown
    baseline: Decimal = Decimal(0)  # USD on the premium model alone, of the requests whose cost is known too
    compared: int = 0  # requests whose cost and baseline are both known
    compared_cost: Decimal = Decimal(0)  # USD, of these
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    first: float | None = None  # Unix seconds; None: nothing was imported
    last: float | None = None
    models: dict[str, ModelSum] = {}

    def add(self, story: Story) -> None:
        """Count a request that was entered."""
        self.imported += 1
        attempt = story.attempts[0]
        usage, cost = attempt.outcome.usage, attempt.cost
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens
        if cost is None:
            self.unknown += 1
        else:
            self.cost += cost
            self.said += attempt.outcome.reported_cost is not None
            self.computed += attempt.outcome.reported_cost is None
        if cost is not None and story.baseline is not None:
            self.compared += 1
            self.compared_cost += cost
            self.baseline += story.baseline
        self.first = story.time if self.first is None else min(self.first, story.time)
        self.last = story.time if self.last is None else max(self.last, story.time)
        sums = self.models.get(attempt.model) or ModelSum(attempt.model)
        self.models[attempt.model] = structs.replace(
            sums, requests=sums.requests + 1, cost=sums.cost + (cost or 0), unknown=sums.unknown + (cost is None)
        )


def bring(
    paths: Sequence[Path],
    source: str,
    ledger: Path,
    *,
    policy: Policy,
    catalog: Catalog,
    options: Options = DEFAULTS,
    progress: Callable[[int], None] = lambda read: None,
) -> Summary:
    """Enter every call of the files in the ledger and say what came of each row.

    A call has an id made of the tool's own, so it is entered once, and an import that was interrupted goes on when
    it is run again. `progress` is told the rows read so far. Raises LedgerError when a file or the ledger cannot be
    read or written; what was entered before stays.
    """
    found = Summary(ledger=str(ledger), dry_run=options.dry_run)
    with _target(ledger, options.dry_run) as target:
        batch: dict[str, Story] = {}
        for story in _stories(paths, source, policy, catalog, options, found):
            if story.request.id in batch:
                found.present += 1
                continue
            batch[story.request.id] = story
            if len(batch) == TOGETHER:
                _enter(target, batch, found)
                batch = {}
                progress(found.read)
        _enter(target, batch, found)
    return found


def _stories(
    paths: Sequence[Path], source: str, policy: Policy, catalog: Catalog, options: Options, found: Summary
) -> Iterator[Story]:
    """The calls of the files; what is none is counted in `found`."""
    reader = SOURCES[source]
    for path in paths:
        for line, row in files.rows(path):
            found.read += 1
            try:
                if isinstance(row, str):
                    raise Malformed(row)
                entry = reader(row)
                if isinstance(entry, Skip):
                    found.skipped[entry.why] = found.skipped.get(entry.why, 0) + 1
                    continue
                yield telling.story(
                    _mapped(entry, row, options), source, task=options.task, catalog=catalog, policy=policy
                )
            except Malformed as error:
                found.malformed += 1
                if len(found.bad) < NAMED:
                    found.bad.append(Bad(str(path), line, str(error)))


def _mapped(entry: Entry, row: Row, options: Options) -> Entry:
    if not options.maps:
        return entry
    said = {name: at_path(row, path) for name, path in options.maps.items() if name in LABELS}
    return structs.replace(entry, **{name: text for name, text in said.items() if text is not None})


class _Target:
    """The ledger that is written to, and one that is only asked what it has."""

    def __init__(self, path: Path, other: sqlite3.Connection | None) -> None:
        self._db = store.open_store(path, wait=WAIT).db
        self._other = other
        self._folder = journal.directory(path)
        self._journal = journal.create(self._folder)

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that the ledger has."""
        found: set[str] = set()
        for db in (self._db, self._other):
            if db is not None:
                marks = ", ".join("?" * len(ids))
                found.update(row[0] for row in db.execute(f"SELECT id FROM requests WHERE id IN ({marks})", ids))  # noqa: S608
        return found

    def enter(self, lines: bytes) -> None:
        """Append lines to the journal and bring them in."""
        self._journal.append(lines)
        store.bring_in(self._db, self._journal.path.name, self._journal.fd, ended=False, owned=True)
        if self._journal.size > REMOVE:
            self._finish()
            self._journal = journal.create(self._folder)

    def close(self) -> None:
        try:
            self._finish()
        finally:
            self._db.close()

    def _finish(self) -> None:
        name = self._journal.path.name
        store.bring_in(self._db, name, self._journal.fd, ended=True, owned=True)
        self._journal.remove()
        store.forget(self._db, name)


@contextmanager
def _target(ledger: Path, dry_run: bool) -> Iterator[_Target]:
    """The ledger; in a dry run an empty one that goes away afterwards."""
    try:
        if not dry_run:
            target = _Target(ledger, None)
            try:
                yield target
            finally:
                target.close()
            return
        present = _present(ledger)
        with tempfile.TemporaryDirectory(prefix="cheapfirst-") as folder:
            target = _Target(Path(folder) / "ledger.db", present)
            try:
                yield target
            finally:
                target.close()
                if present is not None:
                    present.close()
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"the ledger {ledger} cannot be written now: {error}. What was entered before stays; run the same command "
            "again to go on."
        ) from error


def _present(ledger: Path) -> sqlite3.Connection | None:
    """The ledger for questions; None when there is none yet."""
    if not ledger.exists():
        return None
    db = store.open_for_reading(ledger)
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return db
    db.close()
    return None


def _enter(target: _Target, batch: Mapping[str, Story], found: Summary) -> None:
    if not batch:
        return
    present = target.present(list(batch))
    new = [story for id, story in batch.items() if id not in present]
    lines, plans = [], set[str]()
    for story in new:
        plan = rows.blueprint_of(story)
        if plan.hash not in plans:
            plans.add(plan.hash)
            lines.append(rows.plan_line(plan))
        lines.append(rows.line(story))
    if lines:
        target.enter(b"".join(lines))
    found.present += len(batch) - len(new)
    for story in new:
        found.add(story)
