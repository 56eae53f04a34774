"""`cheapfirst policy check | show | diff`: is the table right, what does it say, what would another one change."""

from __future__ import annotations

from pathlib import Path

import click

from cheapfirst import catalog
from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.money import show as money
from cheapfirst.policy.diff import diff as changes
from cheapfirst.policy.show import BudgetRow, RateRow, RouteRow, TierRow
from cheapfirst.policy.show import show as rows_of

FILE = click.argument("file", type=options.FILE, required=False)


@click.group()
def command() -> None:
    """Check, show and compare policies. Without FILE: the one that the library would find."""


@command.command()
@FILE
def check(file: Path | None) -> None:
    """Say whether a policy is right; every mistake with its line, what is allowed and the nearest match."""
    loaded = policies.load(file)
    click.echo(f"{loaded.source}: right. {len(loaded.routes)} tasks, {len(loaded.tiers)} tiers, hash {loaded.hash}.")


@command.command()
@FILE
@options.json_option
def show(file: Path | None, as_json: bool) -> None:
    """Print a policy as tables: what each task does, what each model costs and can do."""
    loaded = policies.load(file)
    shown = rows_of(loaded, catalog.load(loaded.models))
    if as_json:
        screen.print_json(shown)
        return
    out = screen.console()
    out.print(f"[bold]Policy[/bold] {shown.source}, hash {shown.hash}. Default task: {shown.default_task}.")
    columns = ("task", "tier", "model", "shape", "then", "checks")
    screen.put(out, screen.table("Routes", columns, [_route(row) for row in shown.routes]))
    about = ("tier", "model", "in", "out", "context", "answer", "can")
    right = ("in", "out", "context", "answer")
    screen.put(out, screen.table("Tiers, cheapest first", about, [_tier(row) for row in shown.tiers], right=right))
    if shown.budgets:
        spend = ("whose", "per", "limit", "cheapest tier from")
        screen.put(out, screen.table("Budgets", spend, [_budget(row) for row in shown.budgets], right=("limit",)))
    if shown.rates:
        often = ("whose", "requests/min", "tokens/min", "at once")
        screen.put(out, screen.table("Rates", often, [_rate(row) for row in shown.rates], right=often[1:]))
    out.print(
        "then: the tier that a rejected answer escalates to. in, out: USD per million tokens. "
        "context, answer: tokens, at most.",
        style="dim",
    )


@command.command()
@click.argument("before", type=options.FILE)
@click.argument("after", type=options.FILE)
@options.json_option
def diff(before: Path, after: Path, as_json: bool) -> None:
    """Say what changes for whom from policy BEFORE to policy AFTER. Exit code 0 either way."""
    old, new = policies.load(before), policies.load(after)
    found = changes(old, new, catalog.load())
    if as_json:
        screen.print_json({"before": old.hash, "after": new.hash, "changes": found})
        return
    if not found:
        click.echo(f"Both mean the same (hash {old.hash}).")
        return
    click.echo(f"{old.hash} -> {new.hash}")
    for change in found:
        click.echo(f"- {change.sentence}")


def _route(row: RouteRow) -> tuple[object, ...]:
    up = ", ".join(row.escalates_to) or "-"
    shape = "stream, held" if row.shape == "stream" and row.stream != "pass" else row.shape
    return (row.task, row.tier, row.model, shape, up, ", ".join(row.checks) or "-")


def _budget(row: BudgetRow) -> tuple[object, ...]:
    return (row.scope, row.per, money(row.limit), f"{row.step_down:.0%}" if row.step_down is not None else "-")


def _rate(row: RateRow) -> tuple[object, ...]:
    return (row.scope, *("-" if n is None else f"{n:,}" for n in (row.requests, row.tokens, row.concurrent)))


def _tier(row: TierRow) -> tuple[object, ...]:
    able = [name for name, can in (("tools", row.tools), ("vision", row.vision)) if can]
    able += [row.structured] if row.structured is not None else []
    return (
        row.tier,
        row.model,
        screen.price(row.input),
        screen.price(row.output),
        screen.size(row.context),
        screen.size(row.max_output),
        " ".join(able) or "unknown",
    )
