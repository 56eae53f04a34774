"""`cheapfirst demo`: a few hundred requests against the simulator, and then the story. Needs no key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cheapfirst import story
from cheapfirst.cli import options, screen
from cheapfirst.errors import CheapfirstError, RequestFailed
from cheapfirst.ledger import locate
from cheapfirst.messages import Answer
from cheapfirst.money import show, total_known
from cheapfirst.router import AsyncRouter
from cheapfirst.simulator import DEMO, Item, load_corpus, serve_in_thread

SHAPED = {"chat": True, "report": True}
"""Tasks that the demo streams."""


class Done(Struct, frozen=True, kw_only=True):
    """One request of the demo and what became of it."""

    item: Item
    answer: Answer | None = None  # absent: it failed
    error: CheapfirstError | None = None


@click.command()
@click.option("--requests", "count", type=click.IntRange(1), help="Only so many requests of the sample.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same answers and faults.")
@options.policy_option
@options.ledger_option
def command(count: int | None, seed: int, policy_file: Path | None, ledger_file: Path | None) -> None:
    """Route a sample of support mails, invoices, reviews and articles, and show where each went and what it cost.

    The models are simulated: their answers and mistakes are made up in code, their prices and the wire are real.
    """
    out = screen.console()
    items = load_corpus()[:count]
    ledger = ledger_file if ledger_file is not None else locate(None).with_name("demo.db")
    _start_afresh(ledger)
    out.print("[bold]cheapfirst demo[/bold]  simulated models on this machine; no key, no cost, no network\n")
    began = time.perf_counter()
    with serve_in_thread(DEMO(seed)) as simulator:
        done = asyncio.run(_run_all(items, simulator.base_url, policy_file, ledger))
    took = time.perf_counter() - began
    _tell(out, done, took, ledger)


async def _run_all(items: Sequence[Item], base_url: str, policy_file: Path | None, ledger: Path) -> list[Done]:
    """Run every item, sixteen at a time, with a progress bar on stderr."""
    todo = iter(items)
    done: list[Done] = []
    columns = (TextColumn("requests"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    async with AsyncRouter(policy_file, base_url=base_url, api_key="simulated", ledger=ledger) as router:
        with Progress(*columns, console=screen.console(stderr=True)) as progress:
            bar = progress.add_task("", total=len(items))

            async def work() -> None:
                for item in todo:
                    done.append(await _run_one(router, item))
                    up = sum(1 for d in done if d.answer is not None and d.answer.escalated)
                    progress.update(bar, advance=1, description=f"{up} escalated")

            async with asyncio.TaskGroup() as group:
                for _ in range(router.policy.limits.concurrency):
                    group.create_task(work())
    order = {item.id: number for number, item in enumerate(items)}
    return sorted(done, key=lambda one: order[one.item.id])


async def _run_one(router: AsyncRouter, item: Item) -> Done:
    asked = {"schema": item.schema, "feature": item.feature, "tenant": item.tenant}
    try:
        if SHAPED.get(item.task):
            stream = router.stream(item.task, item.input, **asked)
            async for _ in stream:
                pass
            return Done(item=item, answer=stream.answer)
        return Done(item=item, answer=await router.run(item.task, item.input, **asked))
    except CheapfirstError as error:
        return Done(item=item, error=error)
