"""Finds what is known about a model: the user's word first, then what the upstream listed, then shipped data."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from math import inf
from pathlib import Path

import msgspec
from msgspec import Raw, Struct, structs

from cheapfirst.catalog import cost as arithmetic
from cheapfirst.catalog.listing import Listed, read_rows, read_synced
from cheapfirst.catalog.model import Model, ModelOverride, Price, Structured, When, seconds
from cheapfirst.errors import CatalogError
from cheapfirst.messages import Usage, Wire

SAME_PRICE = ("floor", "exacto", "beta", "thinking", "extended")
"""Suffixes that never cost more than the model without them; other ones have no price unless they are listed."""

_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


class Facts(Struct, frozen=True, array_like=True):
    """One model of the shipped file."""

    prices: tuple[Price, ...] = ()
    context: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    structured: Structured | None = None


class Source(Struct, frozen=True):
    """Where a part of the shipped data comes from."""

    name: str
    version: str
    licence: str
    holds: str


class Shipped(Struct, frozen=True):
    """The file that ships with the package. Models are decoded one by one, when they are asked for."""

    date: str  # day it was compiled, ISO
    sources: tuple[Source, ...]
    aliases: dict[str, str]  # other spelling -> id
    models: dict[str, Raw]


class _Dear(Struct, frozen=True):
    """The dearest price of a model between two moments (Unix seconds)."""

    price: arithmetic.Dearest | None
    since: float
    until: float


class Catalog:
    """Models by id. Make one with `load`; it never changes afterwards and may be shared between threads."""

    def __init__(self, shipped: Shipped, overrides: Mapping[str, ModelOverride], listed: Mapping[str, Listed]) -> None:
        self._shipped = shipped
        self._overrides = dict(overrides)
        self._listed = dict(listed)
        self._aliases = {alias: row.model.id for row in listed.values() for alias in row.aliases}
        self._models: dict[str, Model] = {}
        self._dear: dict[str, _Dear] = {}

    @property
    def date(self) -> str:
        """The day the shipped data was compiled, ISO."""
        return self._shipped.date

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the shipped data comes from."""
        return self._shipped.sources

    def ids(self) -> Iterator[str]:
        """Every id that is known, sorted."""
        return iter(sorted({*self._shipped.models, *self._listed, *self._overrides}))

    def overriding(self, overrides: Mapping[str, ModelOverride]) -> Catalog:
        """The same catalog with these overrides in place of its own."""
        return Catalog(self._shipped, overrides, self._listed)

    def model(self, id: str) -> Model:
        """What is known about that model. An unknown id gives a Model with `known=False` and everything None."""
        found = self._models.get(id)
        if found is None:
            found = self._find(id)
            if found.known:  # what callers invent is not kept, so that memory stays bounded
                self._models[id] = found
        return found

    def normalise(self, served: str, asked: str | None = None) -> str:
        """The catalog's spelling of a served model's name, which is often a dated slug.

        `asked` is the id that was requested: it is returned, suffix and all, when the served name is another
        spelling of it. An unknown name comes back as it is.
        """
        if asked is None:
            return self._canonical(served) or served
        base = asked.partition(":")[0]
        if served in (asked, base):
            return asked
        canonical = self._canonical(served)
        if canonical is not None and canonical in (asked, self._canonical(asked), self._canonical(base), base):
            return asked
        if canonical is None and _words(served) == _words(base):
            return asked
        return canonical or served

    def served(self, said: str | None, *, asked: str, alone: bool) -> str:
        """The model that answered, by what the wire said of it (None: nothing).

        Many servers name a file or a deployment instead: where no other model was allowed to step in (`alone`), an
        unknown name is the asked model's.
        """
        if said is None:
            return asked
        found = self.normalise(said, asked=asked)
        return asked if alone and not self.model(found).known else found

    def cost(self, id: str, usage: Usage, at: When = None) -> Decimal | None:
        """USD for that usage on that model at that moment; None when a price it needs is unknown.

        See `catalog.cost` for the formula.
        """
        return arithmetic.computed(self.model(id).price(at, usage.prompt_tokens), usage)

    def worst_case(self, id: str, prompt_tokens: int, max_tokens: int, at: When = None) -> Decimal | None:
        """The most USD that one call can cost with at most these tokens; None when a price is unknown."""
        price = self._dearest(id, prompt_tokens, at)
        return None if price is None else arithmetic.worst_case(price, prompt_tokens, max_tokens)

    def _dearest(self, id: str, prompt_tokens: int, at: When) -> arithmetic.Dearest | None:
        """The dearest price that can count for such a call. Remembered for as long as it is the same for all."""
        moment = seconds(at)
        known = self._dear.get(id)
        if known is not None and moment is not None and known.since <= moment < known.until:
            return known.price
        model = self.model(id)
        now = model.price(at)
        begun = [row.since or 0 for row in model.prices if moment is None or (row.since or 0) <= moment]
        latest = max(begun, default=0)
        found = arithmetic.dearest(
            row
            for row in model.prices
            if row.above < max(prompt_tokens, 1) and ((row.since or 0) == latest or row.hours is not None or row is now)
        )
        if model.known and moment is not None and all(not row.above and row.hours is None for row in model.prices):
            following = [row.since for row in model.prices if row.since is not None and row.since > moment]
            self._dear[id] = _Dear(found, latest, min(following, default=inf))
        return found

    def _find(self, id: str) -> Model:
        base, _, suffix = id.partition(":")
        model = self._exact(id)
        if model is None and (target := self._alias(id)) is not None:
            model = self._exact(target)
        if model is None and suffix and (plain := self._exact(self._canonical(base) or base)) is not None:
            model = plain if suffix in SAME_PRICE else structs.replace(plain, prices=_unlisted(suffix))
        if model is None:
            model = Model(id=id)
        override = self._overrides.get(id)
        if override is not None:
            model = _overridden(model, override)
        return structs.replace(model, id=id)

    def _exact(self, id: str) -> Model | None:
        raw, listed = self._shipped.models.get(id), self._listed.get(id)
        shipped = None
        if raw is not None:
            facts = msgspec.json.decode(raw, type=Facts)
            shipped = Model(id=id, known=True, **structs.asdict(facts))
        if listed is None:
            return shipped
        return listed.model if shipped is None else _merged(shipped, listed.model)

    def _alias(self, name: str) -> str | None:
        return self._aliases.get(name) or self._shipped.aliases.get(name)

    def _known(self, id: str) -> bool:
        return id in self._shipped.models or id in self._listed or id in self._overrides

    def _canonical(self, name: str) -> str | None:
        """The id that this name is a spelling of; None when there is none."""
        for spelling in (name, name.lower()):
            undated = _DATE.sub("", spelling)
            for candidate in (spelling, undated):
                if self._known(candidate):
                    return candidate
                if (target := self._alias(candidate)) is not None:
                    return target
        return None


def load(overrides: Mapping[str, ModelOverride] | None = None, extra: Iterable[Wire] = ()) -> Catalog:
    """Return the catalog: shipped data, over it what `catalog sync` stored, `extra` rows, and the user's overrides.

    `extra` are rows of an OpenRouter `/models` answer. Raises CatalogError when a file cannot be read.
    """
    listed = {row.model.id: row for row in (*read_synced(), *read_rows(extra))}
    return Catalog(shipped(), overrides or {}, listed)


@functools.cache
def shipped() -> Shipped:
    """The data that ships with the package, read once. Raises CatalogError."""
    try:
        text = Path(__file__).with_name("prices.json").read_bytes()
        return msgspec.json.decode(text, type=Shipped)
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(
            f"the shipped catalog (prices.json) cannot be read: {error}. Reinstall cheapfirst."
        ) from error


def _unlisted(suffix: str) -> tuple[Price, ...]:
    zero = Decimal(0)
    return (Price(input=zero, output=zero),) if suffix == "free" else ()


def _merged(shipped: Model, listed: Model) -> Model:
    """The upstream's own word over the shipped one; its prices count from when it was asked, history stays."""
    begin = min((row.since or 0 for row in listed.prices), default=0)
    history = tuple(row for row in shipped.prices if listed.prices and (row.since or 0) < begin)
    later = tuple(row for row in shipped.prices if (row.since or 0) >= max(begin, 1))
    said = {
        name: value
        for name in ("context", "max_output", "tools", "vision", "structured")
        if (value := getattr(listed, name)) is not None
    }
    prices = (*history, *listed.prices, *later) if begin else listed.prices or shipped.prices
    return structs.replace(shipped, prices=prices, **said)


def _overridden(model: Model, override: ModelOverride) -> Model:
    """The user's word over all: a price given replaces that price in every row."""
    said = {name: value for name, value in structs.asdict(override).items() if value is not None}
    priced = {
        name: said.pop(name) for name in ("input", "output", "cache_read", "cache_write", "request") if name in said
    }
    prices = model.prices
    if priced:
        prices = tuple(structs.replace(row, **priced) for row in model.prices) or (Price(**priced),)
    return structs.replace(model, known=True, prices=prices, **said)


def _words(name: str) -> tuple[str, list[str]]:
    """Author and the words of a slug without its date, sorted: providers order them differently."""
    author, _, slug = _DATE.sub("", name.lower()).rpartition("/")
    return author, sorted(slug.split("-"))
