"""What people see in the terminal: tables, shares and lines, in one place so that every screen looks alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import IO, Any

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

WHOLE = ("task", "tier", "model", "name", "id")
"""Columns that are never broken: words that people copy."""


def console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """A console that uses colour only on a terminal and respects NO_COLOR (rich does both)."""
    return Console(stderr=stderr, file=file, highlight=False)


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()
) -> Table:
    """A table; the columns named in `right` are aligned right (numbers). Cells are shown as they are, not as markup."""
    made = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in WHOLE or column in right,
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def price(amount: Decimal | None) -> str:
    """A price in USD per million tokens: `$0.105`, or `unknown`."""
    return "unknown" if amount is None else f"${amount.normalize():f}"


def size(tokens: int | None) -> str:
    """A number of tokens in few characters: `384K`, `1.05M`, or `unknown`."""
    if tokens is None:
        return "unknown"
    for unit, of in (("M", 10**6), ("K", 10**3)):
        if tokens >= of:
            return f"{tokens / of:.3g}{unit}"
    return str(tokens)


def put(out: Console, made: Table) -> None:
    """Print a table whole: where the terminal is too narrow for its figures, lines run on instead of losing digits."""
    # Rich would cut even columns that must not wrap; a column needs its longest cell, or its longest word.
    least = 2
    for column in made.columns:
        cells = [str(column.header), *(str(cell) for cell in column.cells)]
        words = cells if column.no_wrap else [word for cell in cells for word in cell.split()]
        least += max(map(len, words), default=0) + 2
    if least <= out.width:
        out.print(made)
    else:
        made.width = least
        Console(file=out.file, width=least, highlight=False, color_system=None).print(made)


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent with one decimal, or "-" when there is nothing to share."""
    return f"{100 * part / whole:.1f}%" if whole else "-"


def seconds(value: float | None) -> str:
    """A duration for people: `180 ms`, `2.41 s`, or "-" when there is none."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def print_json(data: Any) -> None:
    """Print data as JSON on stdout; money becomes decimal strings, so that no digit is lost."""
    builtins = msgspec.to_builtins(data, str_keys=True, enc_hook=str)
    click.echo(json.dumps(builtins, indent=2, ensure_ascii=False))
