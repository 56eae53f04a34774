"""Reads what an upstream lists at GET /models, and keeps it in the user's cache directory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from cheapfirst import money
from cheapfirst.catalog.model import Model, Price, Structured
from cheapfirst.errors import CatalogError
from cheapfirst.messages import Wire

_PRICES = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "internal_reasoning": "reasoning",
    "request": "request",
}
"""The wire's name of a price -> ours."""


class Listed(Struct, frozen=True):
    """One model as the upstream lists it, with its other spellings."""

    model: Model
    aliases: tuple[str, ...] = ()


class Synced(Struct, frozen=True):
    """What `catalog sync` stored."""

    at: int  # Unix seconds when the upstream was asked
    base_url: str
    rows: list[dict[str, Any]]


def from_openrouter(rows: Iterable[Wire]) -> list[Model]:
    """The models of a `/models` answer's `data`. Rows without an id are left out; what a row lacks is None."""
    return [listed.model for listed in read_rows(rows)]


def read_rows(rows: Iterable[Wire], since: int | None = None) -> list[Listed]:
    """As `from_openrouter`, with aliases. `since` is when these prices began to count (Unix seconds)."""
    return [_read(row, since) for row in rows if isinstance(row, Mapping) and isinstance(row.get("id"), str)]


def cache_file() -> Path:
    """Where a synced listing is kept: `$XDG_CACHE_HOME/cheapfirst/models.json`, by default under `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "cheapfirst" / "models.json"


def save_synced(rows: list[Wire], *, base_url: str, at: float | None = None) -> Path:
    """Store a `/models` listing for every later `load`; returns the file. Raises CatalogError when it cannot."""
    path = cache_file()
    content = Synced(at=int(time.time() if at is None else at), base_url=base_url, rows=rows)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(content))
        part.replace(path)
    except OSError as error:
        raise CatalogError(f"the catalog cannot be stored in {path}: {error.strerror}") from error
    return path


def synced() -> Synced | None:
    """What `catalog sync` stored; None when it never ran. Raises CatalogError when the file is broken."""
    path = cache_file()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Synced)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(
            f"the stored catalog {path} cannot be read: {error}. Delete it or run `cheapfirst catalog sync`."
        ) from error


def read_synced() -> list[Listed]:
    """The models of the stored listing; none when there is no such file."""
    stored = synced()
    return [] if stored is None else read_rows(stored.rows, stored.at)


def _read(row: Wire, since: int | None) -> Listed:
    top = _table(row, "top_provider")
    limits = [size for size in (_count(row.get("context_length")), _count(top.get("context_length"))) if size]
    slug = row.get("canonical_slug")
    return Listed(
        model=Model(
            id=row["id"],
            known=True,
            prices=_prices(row.get("pricing"), since),
            context=min(limits, default=None),
            max_output=_count(top.get("max_completion_tokens")),
            tools=_can(row.get("supported_parameters"), "tools"),
            vision=_can(_table(row, "architecture").get("input_modalities"), "image"),
            structured=_structured(row.get("supported_parameters")),
        ),
        aliases=(slug,) if isinstance(slug, str) and slug != row["id"] else (),
    )


def _prices(pricing: object, since: int | None) -> tuple[Price, ...]:
    """The price list: the base row, then its overrides, each over what the rows before it say."""
    if not isinstance(pricing, Mapping):
        return ()
    base = structs.replace(Price(since=since), **_amounts(pricing))
    if base.input is None and base.output is None:
        return ()
    rows = [base]
    overrides = [item for item in pricing.get("overrides") or () if isinstance(item, Mapping)]
    by_size = [(size, item) for item in overrides if (size := _count(item.get("min_prompt_tokens"))) is not None]
    for size, item in sorted(by_size, key=lambda pair: pair[0]):
        rows.append(structs.replace(rows[-1], above=size, **_amounts(item)))
    for item in overrides:
        hours = (_minutes(item.get("utc_start")), _minutes(item.get("utc_end")))
        if hours[0] is not None and hours[1] is not None and "min_prompt_tokens" not in item:
            rows += [structs.replace(row, hours=hours, **_amounts(item)) for row in rows if row.hours is None]
    return tuple(rows)


def _amounts(pricing: Mapping[str, Any]) -> dict[str, Decimal]:
    """Prices per million tokens (per request for `request`) from the wire's USD per token; negative ones are unknown.

    A zero for reasoning or for a cache price means that the wire has no such price of its own.
    """
    found: dict[str, Decimal] = {}
    for wire, ours in _PRICES.items():
        try:
            amount = money.per_mtok(pricing[wire])
        except (KeyError, TypeError, ValueError):
            continue
        if amount == 0 and ours not in ("input", "output"):
            continue
        found[ours] = amount if ours == "request" else amount * money.MILLION
    return found


def _table(row: Wire, name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}


def _minutes(clock: object) -> int | None:
    """Minutes of the day from the wire's HHMM, as text or number; None when it is not a time."""
    digits = f"{clock:0>4}" if isinstance(clock, int | str) else ""
    if len(digits) != 4 or not digits.isdecimal() or int(digits[2:]) > 59 or int(digits[:2]) > 24:
        return None
    return int(digits[:2]) * 60 + int(digits[2:])


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _can(names: object, name: str) -> bool | None:
    return name in names if isinstance(names, list) else None


def _structured(parameters: object) -> Structured | None:
    if not isinstance(parameters, list):
        return None
    if "structured_outputs" in parameters:
        return "json_schema"
    return "json_object" if "response_format" in parameters else "prompt"
