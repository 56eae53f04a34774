"""`cheapfirst report`: what the ledger says was saved, what escalated and why, what each part cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.ledger import locate
from cheapfirst.ledger.report import Group, Report, report, to_csv, to_dict
from cheapfirst.money import show


@click.command()
@click.option("--since", help="From then on: 24h, 7d, 2026-11-01, an ISO time. Absent: everything.")
@click.option("--until", help="Before then, in the same forms.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the groups as CSV.")
@options.json_option
@options.ledger_option
@options.policy_option
def command(
    since: str | None,
    until: str | None,
    as_csv: bool,
    as_json: bool,
    ledger_file: Path | None,
    policy_file: Path | None,
) -> None:
    """Say what was saved, what escalated and why, and what each task, feature, tenant and model cost."""
    if as_csv and as_json:
        raise click.UsageError("give --csv or --json, not both")
    path = ledger_file if ledger_file is not None else locate(policies.load(policy_file).ledger.path)
    found = report(path, since, until)
    if as_json:
        screen.print_json(to_dict(found))
    elif as_csv:
        click.echo(to_csv(found), nl=False)
    else:
        _print(screen.console(), found)


def _print(out: Console, found: Report) -> None:
    out.print(f"[bold]cheapfirst report[/bold]  {_period(found)}", soft_wrap=True)
    if found.note:
        out.print(found.note, soft_wrap=True, markup=False)
    if not found.total.requests:
        demo = Path(found.ledger).with_name("demo.db")
        if found.since is None and found.until is None and demo.exists():
            out.print(f"The demo keeps its own: cheapfirst report --ledger {demo}", markup=False, soft_wrap=True)
        return
    print_summary(out, found)
    print_groups(out, found)
    _print_losses(out, found)


def print_summary(out: Console, found: Report) -> None:
    """Print the main figures: what the cheap tier resolved, and the bill beside the all-premium bill."""
    total, turns = found.total, found.turns
    counted = (
        ("retries", turns.retries),
        ("failovers", turns.failovers),
        ("cut-offs given more room", turns.cutoffs),
        ("downgrades", turns.downgrades),
        ("re-asks", turns.reasks),
    )
    endings = ", ".join(f"{count:,} {ending}" for ending, count in found.endings.items())
    lines = [
        ("requests", f"{total.requests:,} ({endings})"),
        (
            "resolved by the cheap tier",
            f"{screen.share(total.resolved_cheap, total.started_cheap)} of the {total.started_cheap:,} that started "
            f"there, {screen.share(total.resolved_cheap, total.requests)} of all",
        ),
        ("escalated", f"{total.escalated:,} ({screen.share(total.escalated, total.requests)})"),
        (
            "other turns",
            ", ".join(f"{count} {name}" for name, count in counted if count) or "none",
        ),
        ("cost", f"{show(total.cost)}{_unknown(total.unknown_attempts)}"),
        (
            "on premium alone",
            f"{show(total.baseline)}{_compared(total)}",
        ),
        ("saved", f"{show(total.saved)}{_percent(total)}"),
        ("thrown away", f"{show(found.wasted_cost)} on attempts whose answer was not handed out"),
    ]
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in lines:
        grid.add_row(f"  {name}", Text(text))
    out.print(grid)
    out.print()


def print_groups(out: Console, found: Report) -> None:
    """Print what each task, feature, tenant and model cost, why answers escalated, and the latency."""
    screen.put(out, _by_group("By task", found.tasks))
    for title, groups in (("By feature", found.features), ("By tenant", found.tenants)):
        if any(group.name is not None for group in groups):
            screen.put(out, _by_group(title, groups))
    screen.put(out, _models(found.models))
    if found.escalations:
        rows = [(one.task, one.code or "-", one.count) for one in found.escalations]
        screen.put(out, screen.table("Why answers escalated", ("task", "reason", "times"), rows, right=("times",)))
    screen.put(out, _latency(found))
    out.print(
        "cheap: resolved by the cheap tier, of what started there. premium: the same on the premium model alone. "
        "+?: and attempts of unknown cost.\n",
        style="dim",
    )


COLUMNS = ("name", "requests", "cheap", "escalated", "cost", "premium", "saved", "share")


def _by_group(title: str, groups: Sequence[Group]) -> Table:
    """A table of groups with their shares and money."""
    rows = [
        (
            group.name if group.name is not None else "(none)",
            f"{group.requests:,}",
            screen.share(group.resolved_cheap, group.started_cheap),
            screen.share(group.escalated, group.requests),
            f"{show(group.cost)}{'+?' if group.unknown_attempts else ''}",
            show(group.baseline) if group.compared else "unknown",
            show(group.saved) if group.compared else "unknown",
            "-" if group.saved_share is None else f"{100 * group.saved_share:.1f}%",
        )
        for group in groups
    ]
    return screen.table(title, COLUMNS, rows, right=COLUMNS[1:])


def _models(groups: Sequence[Group]) -> Table:
    rows = [
        (
            group.name or "(no answer)",
            f"{group.attempts:,}",
            f"{group.requests:,}",
            f"{show(group.cost)}{'+?' if group.unknown_attempts else ''}",
        )
        for group in groups
    ]
    columns = ("model", "attempts", "requests answered", "cost")
    return screen.table("By model", columns, rows, right=columns[1:])


def _latency(found: Report) -> Table:
    rows = [
        (line.name, f"{line.requests:,}", screen.seconds(line.p50), screen.seconds(line.p95), screen.seconds(line.p99))
        for line in found.latency
    ]
    columns = ("latency", "requests", "p50", "p95", "p99")
    return screen.table(None, columns, rows, right=columns[1:])


def _print_losses(out: Console, found: Report) -> None:
    lost = found.losses
    if lost.dropped or lost.unreadable:
        out.print(
            f"[bold]Not in this ledger:[/bold] {lost.dropped} requests could not be recorded, {lost.unreadable} "
            f"journal lines were damaged (last reason: {lost.last_reason})",
            soft_wrap=True,
        )


def _period(found: Report) -> str:
    if found.first is None or found.last is None:
        return found.ledger
    first, last = (datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M") for moment in (found.first, found.last))
    return f"{found.ledger}, {first} to {last}"


def _compared(group: Group) -> str:
    """How many requests the comparison is about, where that is not all of them."""
    if group.compared == group.requests:
        return ""
    return f" for the {group.compared:,} requests whose cost and baseline are known"


def _percent(group: Group) -> str:
    return "" if group.saved_share is None else f" ({100 * group.saved_share:.1f}%)"


def _unknown(attempts: int) -> str:
    return f" + {attempts} attempts of unknown cost" if attempts else ""
