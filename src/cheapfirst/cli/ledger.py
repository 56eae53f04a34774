"""`cheapfirst ledger import | reconcile`: other tools' logs in, and the books against the upstream's."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cheapfirst import catalog as models
from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.cli.ledger_reconcile import reconcile
from cheapfirst.ledger import locate
from cheapfirst.ledger.importing.entry import LABELS
from cheapfirst.money import show

if TYPE_CHECKING:
    from cheapfirst.ledger.importing import Summary

SHOWN = 20
"""Rows that could not be read which the screen names."""

MODELS = 15
"""Models that the screen names, the dearest first."""


@click.group()
def command() -> None:
    """Bring other tools' logs in, and compare with the upstream's own books."""


command.add_command(reconcile)


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=options.FILE)
@click.option(
    "--from", "source", required=True, type=click.Choice(["litellm", "langfuse", "openai"]), help="Whose logs."
)
@click.option("--task", help="The task of requests whose log names none.  [default: imported]")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="LABEL=PATH",
    help="Where a row has its task, feature, tenant or session, like tenant=metadata.customer; repeat for more.",
)
@click.option("--dry-run", is_flag=True, help="Say what would come of each row, and enter nothing.")
@options.json_option
@options.ledger_option
@options.policy_option
def import_(
    files: tuple[Path, ...],
    source: str,
    task: str | None,
    maps: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    ledger_file: Path | None,
    policy_file: Path | None,
) -> None:
    """Bring the logs in FILES into the ledger: JSON Lines, JSON or CSV, also as .gz.

    A call is entered once, however often it is imported; an interrupted import goes on when it is run again. Exit
    code 1 when there were rows that could not be read: the others are in.
    """
    from cheapfirst.ledger import importing

    policy = policies.load(policy_file)
    path = ledger_file if ledger_file is not None else locate(policy.ledger.path)
    known = importing.Options(maps=_maps(maps), dry_run=dry_run)
    if task is not None:
        known = importing.Options(task=task, maps=known.maps, dry_run=dry_run)
    found = importing.bring(
        files, source, path, policy=policy, catalog=models.load(policy.models), options=known, progress=_progress
    )
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        screen.print_json(found)
    else:
        _print(found)
    sys.exit(1 if found.malformed else 0)


def _maps(given: tuple[str, ...]) -> dict[str, str]:
    maps = {}
    for text in given:
        label, equals, path = text.partition("=")
        if not equals or not path.strip() or label.strip() not in LABELS:
            raise click.UsageError(
                f"not a mapping: {text!r}. Write LABEL=PATH, the label one of {', '.join(LABELS)}, like "
                "tenant=metadata.customer"
            )
        maps[label.strip()] = path.strip()
    return maps


def _progress(read: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{read:,} rows", nl=False, err=True)


def _print(found: Summary) -> None:
    out = screen.console()
    verb = "would be imported" if found.dry_run else "imported"
    lines = [("rows read", f"{found.read:,}"), (verb, f"{found.imported:,} requests{_period(found)}")]
    lines.append(("already there", f"{found.present:,}"))
    lines += [(f"skipped: {why}", f"{many:,}") for why, many in sorted(found.skipped.items())]
    lines.append(("not readable", f"{found.malformed:,}"))
    lines.append(("tokens in", f"{found.prompt_tokens:,} ({found.cached_tokens:,} of them cached)"))
    lines.append(("tokens out", f"{found.completion_tokens:,}"))
    lines.append(("cost", f"{show(found.cost)}{_sources(found)}"))
    if found.compared:
        of = "" if found.compared == found.imported else f" for the {found.compared:,} whose cost is known"
        lines.append(("on premium alone", f"{show(found.baseline)}{of}"))
    screen.put(out, screen.table(f"cheapfirst ledger import  {found.ledger}", ("what", "is"), lines))
    dearest = sorted(found.models.values(), key=lambda one: (-one.cost, one.model))
    rows = [(m.model, f"{m.requests:,}", show(m.cost), f"{m.unknown:,}") for m in dearest[:MODELS]]
    if rows:
        columns = ("model", "requests", "cost", "cost unknown")
        screen.put(out, screen.table(None, columns, rows, right=columns[1:]))
    if len(dearest) > MODELS:
        out.print(f"and {len(dearest) - MODELS} more models")
    for bad in found.bad[:SHOWN]:
        click.echo(f"{bad.file}:{bad.line}: {bad.why}", err=True)
    if found.malformed > SHOWN:
        click.echo(f"and {found.malformed - SHOWN:,} more rows that could not be read", err=True)


def _period(found: Summary) -> str:
    if found.first is None or found.last is None:
        return ""
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in (found.first, found.last))
    return f", {first} to {last} (UTC)"


def _sources(found: Summary) -> str:
    parts = [
        (found.said, "as the log says"),
        (found.computed, "computed from tokens and the catalog's prices"),
        (found.unknown, "unknown and not in this sum"),
    ]
    told = ", ".join(f"{many:,} {how}" for many, how in parts if many)
    return f" ({told})" if told else ""
