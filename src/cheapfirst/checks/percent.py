"""Notices rates that are a hundred times too large: `7 %` in the source, 7 where the schema wants a fraction."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.declared import described, schema_for
from cheapfirst.checks.numerals import plain
from cheapfirst.checks.paths import dotted, leaves
from cheapfirst.messages import Finding, Wire
from cheapfirst.policy.checks import Percent

_PERCENT = re.compile(
    r"(?<![\w.,])(\d+(?:[.,]\d+)?)\s?(?:%|percent\b|per cent\b|prozent\b|pour cent\b|por ciento\b|per cento\b)"
)
_SPOKEN = ("percent", "per cent", "prozent", "pour cent", "por ciento", "por cento", "per cento", "procent", "%")


def percent(value: Any, context: Context, options: Percent) -> Sequence[Finding]:
    """No number field copies a percentage of the source as it stands. Code: percent.whole.

    Looks at fields of type `number` whose name and description do not speak of percent. A field whose own `minimum`
    or `maximum`, default or example shows that it counts in percent is let through.
    """
    del options
    if context.source is None or not context.parsed:
        return ()
    rates = {Decimal(figure.replace(",", ".")) for figure in _PERCENT.findall(plain(context.source))} - {Decimal(0)}
    if not rates:
        return ()
    found = []
    for path, leaf in leaves(value):
        if isinstance(leaf, bool) or not isinstance(leaf, int | float) or Decimal(repr(leaf)) not in rates:
            continue
        schema, inner = schema_for(value, context, path)
        place = described(schema, inner)
        if any(part.get("type") == "number" for part in place) and not _counts_in_percent(place, path[-1:]):
            sentence = f"`{dotted(path)}` is {leaf} for {leaf} %; as a fraction that is {Decimal(repr(leaf)) / 100}."
            found.append(Finding(check="percent", code="percent.whole", sentence=sentence, path=path))
    return found


def _counts_in_percent(place: list[Wire], name: tuple[str | int, ...]) -> bool:
    said = plain(json.dumps([part.get("description", "") for part in place], ensure_ascii=False) + f" {name}")
    shown = [part[key] for part in place for key in ("default", "minimum", "maximum", "multipleOf") if key in part]
    shown += [example for part in place for example in part.get("examples") or ()]
    over = any(isinstance(number, int | float) and number > 1 for number in shown)
    return over or any(word in said for word in _SPOKEN) or "pct" in said
