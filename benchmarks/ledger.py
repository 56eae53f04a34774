"""What recording a request costs the request: `python -m benchmarks.ledger [--json FILE] [--requests N] [--rate R]`.

Each way of recording takes the same stories (one attempt, or two after an escalation), first at a steady rate and
then as fast as it can. Measured is the time that the caller waits, while whatever runs behind it runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from msgspec import structs

from cheapfirst.ledger import Recorder, report, store
from cheapfirst.ledger.rows import rows, values
from cheapfirst.messages import (
    Attempt,
    Blueprint,
    Finding,
    On,
    Outcome,
    Plan,
    Planned,
    Request,
    Step,
    Story,
    Usage,
    Verdict,
)

Record: TypeAlias = Callable[[Story], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=1_000, help="requests a second of the steady part")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, way in WAYS.items():
            for load, rate in (("steady", arguments.rate), ("burst", 0)):
                path = Path(folder) / f"{name}-{load}".replace(" ", "-") / "ledger.db"
                path.parent.mkdir()
                stories = [story(number) for number in range(arguments.requests)]
                with way(path) as record:
                    taken = timed(record, stories, rate)
                row = {"way": name, "load": load, "n": len(taken), **spread(taken)}
                found.append(row)
                print(
                    f"{name:47s} {load:6s} p50 {row['p50_us']:8.1f} us   p99 {row['p99_us']:8.1f} us   "
                    f"mean {row['mean_us']:8.1f} us   longest {row['max_us']:10.1f} us"
                )
                if way is journal or way is journal_fsync:
                    kept = report.report(path).total.requests
                    assert kept == len(stories), f"{kept} of {len(stories)} are in the ledger"
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def timed(record: Record, stories: list[Story], rate: int) -> list[float]:
    """Seconds that each call took; with a `rate` (per second), calls are spread evenly in time."""
    taken = []
    began = time.perf_counter()
    for number, one in enumerate(stories):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        start = time.perf_counter()
        record(one)
        taken.append(time.perf_counter() - start)
    return taken


def spread(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {
        "p50_us": cuts[49] * 1e6,
        "p99_us": cuts[98] * 1e6,
        "mean_us": statistics.fmean(taken) * 1e6,
        "max_us": max(taken) * 1e6,
    }


@contextmanager
def log(path: Path) -> Iterator[Record]:
    """A plain logging call with the few fields that people log."""
    logger = logging.getLogger("benchmark")
    handler = logging.FileHandler(path.with_suffix(".log"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield lambda one: logger.info(
        "task=%s tier=%s model=%s cost=%s duration=%.3f attempts=%d",
        one.request.task,
        one.plan.tier,
        one.attempts[-1].model,
        one.cost,
        one.duration,
        len(one.attempts),
    )
    logger.removeHandler(handler)
    handler.close()


@contextmanager
def insert(path: Path) -> Iterator[Record]:
    """The same rows, inserted and committed at once (WAL, synchronous = NORMAL)."""
    yield from _insert(path, "NORMAL")


@contextmanager
def insert_full(path: Path) -> Iterator[Record]:
    """The same, waiting for the disk at each commit (synchronous = FULL)."""
    yield from _insert(path, "FULL")


def _insert(path: Path, synchronous: str) -> Iterator[Record]:
    db = store.open_store(path).db
    db.execute(f"PRAGMA synchronous = {synchronous}")

    def record(one: Story) -> None:
        request, attempts = rows(one)
        with store.Transaction(db):
            for table, row in (("requests", request), *(("attempts", attempt) for attempt in attempts)):
                cells = values(row)
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(cells))})", cells)

    yield record
    db.close()


@contextmanager
def journal(path: Path) -> Iterator[Record]:
    """The ledger: one append before the answer, the database behind it."""
    recorder = Recorder(path)
    yield recorder.record
    recorder.close(120)


@contextmanager
def journal_fsync(path: Path) -> Iterator[Record]:
    """The ledger, waiting for the disk."""
    recorder = Recorder(path, durability="fsync")
    yield recorder.record
    recorder.close(120)


WAYS = {
    "logging to a file": log,
    "SQLite insert and commit": insert,
    "SQLite insert and commit, waiting for the disk": insert_full,
    "ledger (ours)": journal,
    "ledger, waiting for the disk (ours)": journal_fsync,
}


def story(number: int) -> Story:
    """A request as the cascade tells it; one in seven was escalated."""
    chance = random.Random(number)
    twice = chance.random() < 1 / 7
    attempts = [_attempt(1, "start", "cheap", "deepseek/deepseek-v4-flash", not twice, chance)]
    if twice:
        attempts.append(_attempt(2, "reject", "premium", "anthropic/claude-opus-4.8", True, chance))
    return Story(
        request=Request(
            id=f"req_{number:026}", task="extract", body={}, schema=SCHEMA, feature="inbox", tenant=f"t{number % 50}"
        ),
        plan=structs.replace(PLAN, blueprint=BLUEPRINT),
        attempts=tuple(attempts),
        ending="accepted",
        time=1_790_000_000.0 + number,
        duration=chance.uniform(0.2, 3.0),
        winner=len(attempts),
        escalated=twice,
        cost=sum((attempt.cost for attempt in attempts if attempt.cost is not None), Decimal(0)),
        baseline=Decimal("0.0125"),
    )


def _planned(on: On, tier: str, model: str) -> Planned:
    return Planned(
        on=on,
        tier=tier,
        model=model,
        form="json_schema",
        max_tokens=4096,
        worst_case=Decimal("0.000812345678"),
        reasons=(f"route extract goes to tier {tier}",),
    )


def _attempt(number: int, on: On, tier: str, model: str, accept: bool, chance: random.Random) -> Attempt:
    usage = Usage(prompt_tokens=chance.randint(100, 4000), completion_tokens=chance.randint(20, 800))
    missing = Finding(check="schema", code="schema.required", sentence="total is missing", path=("total",))
    return Attempt(
        number=number,
        planned=_planned(on, tier, model),
        on=on,
        outcome=Outcome(
            kind="answer",
            finish="stop",
            native_finish="stop",
            model=f"{model}-20260423",
            provider="Provider",
            generation_id=f"gen-{number}",
            usage=usage,
            reported_cost=Decimal("0.000012345678"),
            duration=0.4,
        ),
        verdict=Verdict(accept=accept, findings=() if accept else (missing,), checked=("parse", "schema")),
        trail=(Step(kind="unfenced"),),
        model=model,
        cost=Decimal("0.000012345678"),
        computed_cost=Decimal("0.000012340000"),
        started=0.001,
    )


PLAN = Plan(
    task="extract",
    shape="json",
    tier="cheap",
    tiers=("cheap", "premium"),
    attempts=(
        _planned("start", "cheap", "deepseek/deepseek-v4-flash"),
        _planned("cut-off", "cheap", "deepseek/deepseek-v4-flash"),
        _planned("fault", "cheap", "qwen/qwen3-30b"),
        _planned("reject", "premium", "anthropic/claude-opus-4.8"),
    ),
    reasons=("extract is easy and its answers can be checked",),
    checks=("parse", "schema"),
    policy_hash="0123456789ab",
)

BLUEPRINT = Blueprint.of(PLAN)
"""Of all requests of a task, as the planner hands it out."""

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}

if __name__ == "__main__":
    main()
