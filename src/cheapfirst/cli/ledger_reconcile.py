"""`cheapfirst ledger reconcile`: the ledger against the upstream's own books."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cheapfirst import catalog as models
from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.errors import NoUpstreamKey
from cheapfirst.ledger import locate
from cheapfirst.ledger.period import moment
from cheapfirst.money import show
from cheapfirst.policy import Policy
from cheapfirst.policy.load import is_openrouter

if TYPE_CHECKING:
    from cheapfirst.reconcile import Difference, Reconciled

SHOWN = 50
"""Differences that the screen names; --json names 10,000."""


@click.command()
@click.option("--since", help="From then on: 24h, 7d, 2026-11-01, an ISO time. Absent: everything.")
@click.option("--until", help="Before then, in the same forms. Absent: now.")
@click.option("--base-url", help="Another upstream that has /generation.")
@click.option("--api-key-env", help="Variable that holds the upstream's key; else the policy's.")
@click.option("--management-key-env", help="Variable that holds the key for the activity by day, where it is another.")
@click.option("--key-hash", help="Compare the activity by day of this API key only, by its hash.")
@click.option("--fix", is_flag=True, help="Enter the costs that the ledger lacks.")
@click.option("--again", is_flag=True, help="Ask anew for what was asked before.")
@options.json_option
@options.ledger_option
@options.policy_option
def reconcile(
    since: str | None,
    until: str | None,
    base_url: str | None,
    api_key_env: str | None,
    management_key_env: str | None,
    key_hash: str | None,
    fix: bool,
    again: bool,
    as_json: bool,
    ledger_file: Path | None,
    policy_file: Path | None,
) -> None:
    """Compare with the upstream's own books and name each difference.

    Each answer with its page (/generation), each UTC day and model with the account's activity (/activity). Exit code
    1 when there are differences, or calls that could not be compared.
    """
    policy = policies.load(policy_file, base_url=base_url)
    path = ledger_file if ledger_file is not None else locate(policy.ledger.path)
    begin, end = moment(since) if since is not None else 0.0, moment(until) if until is not None else time.time()
    key = _key(api_key_env, policy.upstream.key_env)
    if key is None and is_openrouter(policy.upstream.base_url):
        raise NoUpstreamKey(
            f"no API key: set the environment variable {policy.upstream.key_env}, or name another with --api-key-env"
        )
    management = _key(management_key_env, None) if management_key_env is not None else None
    found = asyncio.run(_compare(policy, path, begin, end, key, management, key_hash=key_hash, fix=fix, again=again))
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        screen.print_json(found)
    else:
        _print(found)
    sys.exit(1 if found.kinds or found.not_asked else 0)


async def _compare(
    policy: Policy,
    path: Path,
    since: float,
    until: float,
    key: str | None,
    management: str | None,
    *,
    key_hash: str | None,
    fix: bool,
    again: bool,
) -> Reconciled:
    from cheapfirst.reconcile import reconcile as compare
    from cheapfirst.upstream import Upstream

    upstream = Upstream(policy.upstream, api_key=key)
    manager = Upstream(policy.upstream, api_key=management) if management is not None else None
    try:
        return await compare(
            path,
            upstream,
            models.load(policy.models),
            base_url=policy.upstream.base_url,
            since=since,
            until=until,
            management=manager,
            key_hash=key_hash,
            fix=fix,
            again=again,
            progress=_progress,
        )
    finally:
        await upstream.close()
        if manager is not None:
            await manager.close()


def _key(named: str | None, otherwise: str | None) -> str | None:
    """The key in that variable; one that is named must be set."""
    if named is None:
        return os.environ.get(otherwise) if otherwise is not None else None
    key = os.environ.get(named)
    if not key:
        raise NoUpstreamKey(f"the variable {named} is not set. It was named as the one that holds a key.")
    return key


def _progress(compared: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{compared:,} calls", nl=False, err=True)


def _print(found: Reconciled) -> None:
    from cheapfirst.reconcile.differences import KINDS

    out = screen.console()
    lines = [
        ("calls in the ledger", f"{found.calls:,}"),
        ("compared", f"{found.compared:,}, equal {found.equal:,}"),
        ("without an id", f"{found.without_id:,}"),
        *((f"not asked: {fault}", f"{many:,}") for fault, many in sorted(found.not_asked.items())),
        ("cost here", show(found.cost_here)),
        ("cost there", show(found.cost_there)),
        ("days compared", _days(found.days)),
    ]
    if found.fixed:
        lines.append(("costs entered", f"{found.fixed:,}"))
    title = f"cheapfirst ledger reconcile  {found.ledger} with {found.base_url}"
    screen.put(out, screen.table(title, ("what", "is"), lines))
    if found.differences:
        named = [(one.kind, _where(one), one.here, one.there) for one in found.differences[:SHOWN]]
        screen.put(out, screen.table("Differences", ("kind", "of", "here", "there"), named))
        if (more := sum(sums.count for sums in found.kinds.values()) - len(named)) > 0:
            out.print(f"and {more:,} more; --json names up to 10,000\n")
        rows = [(k, f"{s.count:,}", show(s.amount) if s.amount else "-", KINDS[k]) for k, s in found.kinds.items()]
        columns = ("kind", "times", "there more than here", "meaning")
        screen.put(out, screen.table(None, columns, rows, right=columns[1:3]))
    elif not found.not_asked:
        out.print("No difference.")
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)


def _days(days: list[str]) -> str:
    return "none" if not days else days[0] if len(days) == 1 else f"{len(days)}, {days[0]} to {days[-1]} (UTC)"


def _where(one: Difference) -> str:
    if one.request_id is None:
        return f"{one.date} {one.model}"
    return f"{one.request_id} attempt {one.attempt} ({one.generation_id})"
