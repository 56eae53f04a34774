"""`cheapfirst demo`: a few hundred requests against the simulator, and then the story. Needs no key."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cheapfirst import policy as policies
from cheapfirst import story
from cheapfirst.cli import options, screen
from cheapfirst.cli.report import print_groups, print_summary
from cheapfirst.errors import CheapfirstError
from cheapfirst.ledger import locate
from cheapfirst.ledger.report import report
from cheapfirst.messages import Answer, Attempt
from cheapfirst.money import show
from cheapfirst.policy import Policy
from cheapfirst.router import AsyncRouter
from cheapfirst.simulator import Item, demo_options, load_corpus, serve_in_thread

STREAMED = ("chat", "report")
"""Tasks that the demo streams."""
EXAMPLES = 3
"""How many escalated requests are told from start to end."""


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

    The models are simulated: their answers and mistakes are made up in code; prices and wire are like the real ones.
    """
    out = screen.console()
    items = load_corpus()[:count]
    ledger = ledger_file if ledger_file is not None else _fresh(locate(None).with_name("demo.db"))
    policy = policies.load(policy_file) if policy_file is not None else policies.loads("", source="the built-in policy")
    out.print(
        "[bold]cheapfirst demo[/bold]  simulated models on this machine: no key, no cost, no network", soft_wrap=True
    )
    began = time.time()
    with serve_in_thread(demo_options(seed)) as simulator:
        done = asyncio.run(_run_all(items, simulator.base_url, policy, ledger))
    found = report(ledger, began)
    out.print()
    print_summary(out, found)
    print_groups(out, found)
    _print_examples(out, [one.answer for one in done if one.answer is not None and one.answer.escalated])
    _print_quality(out, done)
    _print_next(out, ledger)


async def _run_all(items: Sequence[Item], base_url: str, policy: Policy, ledger: Path) -> list[Done]:
    """Run every item, as many at a time as the policy allows, with a progress bar on stderr."""
    todo = iter(items)
    done: list[Done] = []
    columns = (
        TextColumn("requests"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    async with AsyncRouter(policy, base_url=base_url, api_key="simulated", ledger=ledger) as router:
        with Progress(*columns, console=screen.console(stderr=True)) as progress:
            bar = progress.add_task("", total=len(items))

            async def work() -> None:
                for item in todo:
                    done.append(await _run_one(router, item))
                    escalated = sum(1 for one in done if one.answer is not None and one.answer.escalated)
                    progress.update(bar, advance=1, description=f"{escalated} escalated")

            async with asyncio.TaskGroup() as group:
                for _ in range(router.policy.limits.concurrency):
                    group.create_task(work())
    order = {item.id: number for number, item in enumerate(items)}
    return sorted(done, key=lambda one: order[one.item.id])


async def _run_one(router: AsyncRouter, item: Item) -> Done:
    try:
        if item.task in STREAMED:
            stream = router.stream(item.task, item.input, feature=item.feature, tenant=item.tenant)
            async for _ in stream:
                pass
            return Done(item=item, answer=stream.answer)
        answer = await router.run(item.task, item.input, schema=item.schema, feature=item.feature, tenant=item.tenant)
        return Done(item=item, answer=answer)
    except CheapfirstError as error:
        return Done(item=item, error=error)


def _print_examples(out: Console, escalated: Sequence[Answer]) -> None:
    """Tell a few escalated requests from start to end, each for another reason."""
    told: dict[str, Answer] = {}
    for answer in escalated:
        told.setdefault(_first_code(answer.attempts), answer)
    if told:
        out.print("[bold]Why an answer escalated, step by step[/bold]")
    for answer in list(told.values())[:EXAMPLES]:
        out.print(f"\n  {answer.task} {answer.request_id}", markup=False)
        for attempt in answer.attempts:
            out.print(Padding(Text(f"{attempt.number}. {story.line(attempt)}"), (0, 0, 0, 4)))
        out.print(f"    Cost {show(answer.cost)}, on premium alone {show(answer.baseline)}.", markup=False)
    out.print()


def _first_code(attempts: Sequence[Attempt]) -> str:
    for attempt in attempts:
        if attempt.verdict is not None and not attempt.verdict.accept:
            return attempt.verdict.findings[0].code
    return ""


def _print_quality(out: Console, done: Sequence[Done]) -> None:
    """How many accepted answers are right; the sample knows its right answers."""
    known = [one for one in done if one.item.schema is not None and one.answer is not None]
    right = sum(1 for one in known if one.answer is not None and one.answer.value == one.item.gold)
    failed = sum(1 for one in done if one.error is not None)
    out.print(
        f"Right answers (the sample knows them): {right} of {len(known)} structured ones, "
        f"{screen.share(right, len(known))}; a well-formed wrong label passes every check in code. "
        f"Without an answer: {failed}.",
        markup=False,
    )
    out.print("All answers and costs above are simulated.\n", style="italic")


def _fresh(ledger: Path) -> Path:
    """The demo's own ledger, emptied, so that its figures are those of one run."""
    for name in (ledger.name, f"{ledger.name}-wal", f"{ledger.name}-shm"):
        ledger.with_name(name).unlink(missing_ok=True)
    return ledger


def _program() -> str:
    """How to call this program here: by its name where that is on the path, else as it was called."""
    if shutil.which("cheapfirst"):
        return "cheapfirst"
    return "python -m cheapfirst" if sys.argv[0].endswith("__main__.py") else os.path.relpath(sys.argv[0])


def _print_next(out: Console, ledger: Path) -> None:
    out.print("[bold]What to type next[/bold]")
    program = _program()
    for command_line, what in (
        (f"cheapfirst report --ledger {ledger}", "the same figures again, from the ledger"),
        ("cheapfirst policy show", "the table that decided all this"),
        ("cheapfirst explain extract 'Invoice 12, total 9.00 EUR'", "a plan, without calling anyone"),
        ("cheapfirst estimate --input 50M --output 10M", "the bill for your own traffic"),
        ("OPENROUTER_API_KEY=... cheapfirst run summarize --file mail.txt", "the real thing"),
    ):
        out.print(f"  {command_line.replace('cheapfirst ', f'{program} ', 1)}", markup=False, soft_wrap=True)
        out.print(f"      {what}", style="dim")
