"""`cheapfirst budgets`: what each budget of the policy has spent, reserved and left, and when it begins anew."""

from __future__ import annotations

from pathlib import Path

import click

from cheapfirst.access import Access
from cheapfirst.access.balance import Balance
from cheapfirst.cli import options, screen
from cheapfirst.cli.keys import when, with_access
from cheapfirst.money import show as money


@click.command()
@options.policy_option
@options.ledger_option
@options.store_option
@options.json_option
def command(policy_file: Path | None, ledger_file: Path | None, store: str | None, as_json: bool) -> None:
    """Say what each budget has spent, reserved for requests under way, and left, and when it begins anew."""
    found = with_access(Access.balances, policy_file, ledger_file, store)
    if as_json:
        screen.print_json(found)
        return
    if not found:
        click.echo("Nothing was spent under a budget. Budgets stand in the policy, under [[budgets]].")
        return
    columns = ("whose", "per", "limit", "spent", "reserved", "left", "begins anew")
    out = screen.console()
    screen.put(out, screen.table("Budgets", columns, [_row(one) for one in found], right=columns[2:6]))


def _row(one: Balance) -> tuple[object, ...]:
    amounts = (money(amount) for amount in (one.limit, one.spent, one.reserved, one.left))
    return (f"{one.scope} {one.name}", one.per, *amounts, when(one.resets))
