"""Finds, reads and validates the policy table. Everything wrong with it is an error here, never at request time."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import structs

from cheapfirst import catalog
from cheapfirst.catalog import ModelOverride
from cheapfirst.errors import PolicyError, nearest
from cheapfirst.policy import fields, routes, spending
from cheapfirst.policy.checks import CHECKS
from cheapfirst.policy.identity import hash_of
from cheapfirst.policy.lines import Key
from cheapfirst.policy.problems import Problems, following, looks_secret
from cheapfirst.policy.table import (
    BreakerOptions,
    GatewayOptions,
    LedgerOptions,
    Limits,
    Policy,
    Tier,
    Timeouts,
    Upstream,
)

FILE = "cheapfirst.toml"
VARIABLE = "CHEAPFIRST_POLICY"
BUILT_IN = "built-in"
SECTIONS = ("tiers", "routes", "limits", "models", "upstream", "ledger", "gateway", "budgets", "rates", "default_task")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSENDABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load(
    given: str | Path | Policy | None = None, *, custom: Collection[str] = (), base_url: str | None = None
) -> Policy:
    """Return the policy: the one given, or the first that is found.

    Order: `given` (a file, or a Policy), the file that CHEAPFIRST_POLICY names, cheapfirst.toml in the working
    directory, cheapfirst.toml beside the main program, the built-in one. `custom` are the names of checks registered
    in code, which the table may then use. `base_url` wins over the table's upstream.base_url. Raises PolicyError with
    every problem found.
    """
    if base_url is not None and (wrong := _wrong_address(base_url)) is not None:
        raise PolicyError([wrong], source="base_url")
    if isinstance(given, Policy):
        hashed = given if given.hash else structs.replace(given, hash=hash_of(given))
        return hashed if base_url is None else _at(hashed, base_url)
    path = find(given)
    if path is None:
        return loads(_built_in(), source=BUILT_IN, custom=custom, base_url=base_url)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(["the file is not UTF-8 text; TOML files are"], source=str(path)) from error
    except OSError as error:
        raise PolicyError([f"the file cannot be read: {error.strerror}"], source=str(path)) from error
    return loads(text, source=str(path), custom=custom, base_url=base_url)


def find(given: str | Path | None = None) -> Path | None:
    """The file that `load` would read; None for the built-in policy. Raises PolicyError for a named, missing file."""
    if given is not None:
        return _existing(Path(given), "no such file; give the path of a policy table")
    if named := os.environ.get(VARIABLE):
        return _existing(Path(named), f"no such file, but the environment variable {VARIABLE} names it")
    return next((path for path in _places() if path.is_file()), None)


def loads(text: str, source: str = "policy", *, custom: Collection[str] = (), base_url: str | None = None) -> Policy:
    """Read a policy from TOML text. `source` is what errors call it. `base_url` wins over the table's own, but leaves
    the hash as it is. Raises PolicyError with every problem found."""
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"), parse_float=Decimal)  # some editors begin files with a mark
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([_syntax(error)], source=source) from error
    except RecursionError:
        raise PolicyError(["too many lists or tables stand inside each other"], source=source) from None
    problems = Problems(text)
    policy = _read(table, source, custom, problems, base_url)
    if len(problems):
        raise PolicyError(problems.sentences(), source=source)
    policy = structs.replace(policy, hash=hash_of(policy))
    return policy if base_url is None else _at(policy, base_url)


def _at(policy: Policy, base_url: str) -> Policy:
    """The same policy, sent somewhere else. What it says, and so its hash, stays."""
    return structs.replace(policy, upstream=structs.replace(policy.upstream, base_url=base_url))


def _read(
    table: dict[str, Any], source: str, custom: Collection[str], problems: Problems, base_url: str | None
) -> Policy:
    for name in table:
        if name not in SECTIONS:
            problems.unknown((name,), "section", name, SECTIONS)
    for name in sorted(set(custom) & set(CHECKS)):
        problems.add((), f'the check registered as "{name}" has the name of a built-in one; give it another name')
    _secrets(table, (), problems)
    built_in = None if source == BUILT_IN else loads(_built_in(), source=BUILT_IN)
    upstream = _upstream(table.get("upstream", {}), problems)
    models = _models(table.get("models", {}), problems)
    tiers = built_in.tiers if built_in is not None and "tiers" not in table else _tiers(table.get("tiers"), problems)
    if not tiers:
        return Policy(tiers=(), routes={})
    _known_models(tiers, models, base_url or upstream.base_url, problems)
    own = routes.read(table.get("routes", {}), tiers, custom, problems)
    kept = routes.fitting(built_in.routes, own, [tier.name for tier in tiers]) if built_in is not None else {}
    all_routes = {**kept, **own}
    if not all_routes and not len(problems):
        problems.add((), "the table has no routes; add one, like [routes.extract]")
    return Policy(
        tiers=tiers,
        routes=all_routes,
        limits=_limits(table.get("limits", {}), problems),
        models=models,
        upstream=upstream,
        ledger=fields.make(LedgerOptions, table.get("ledger", {}), ("ledger",), problems),
        gateway=fields.make(GatewayOptions, table.get("gateway", {}), ("gateway",), problems),
        budgets=spending.budgets(table.get("budgets", []), all_routes, problems),
        rates=spending.rates(table.get("rates", []), all_routes, problems),
        default_task=_default_task(table, all_routes, own, problems),
        source=source,
    )


def _tiers(table: object, problems: Problems) -> tuple[Tier, ...]:
    path: Key = ("tiers",)
    if not isinstance(table, Mapping) or not table:
        problems.add(path, 'must be a table of models, cheapest first, like cheap = "author/model"')
        return ()
    found = []
    for name, value in table.items():
        models = [value] if isinstance(value, str) else value
        if not _NAME.fullmatch(name):
            problems.add((*path, name), 'a tier\'s name has letters, digits, "_" and "-"')
            continue
        if not isinstance(models, list) or not models or not all(isinstance(id, str) and id for id in models):
            problems.add((*path, name), "must be a model or a list of models, tried in that order")
            models = []  # the name still counts, so that routes to it are not wrong as well
        elif len(set(models)) < len(models):
            problems.add((*path, name), "names a model twice")
        found.append(Tier(name=name, models=tuple(models)))
    return tuple(found)


def _known_models(tiers: tuple[Tier, ...], models: dict[str, ModelOverride], base_url: str, problems: Problems) -> None:
    """Every model must be in the catalog or declared, unless requests go to a server with ids of its own."""
    if not is_openrouter(base_url):
        return
    known = catalog.load(models)
    for tier in tiers:
        for id in tier.models:
            if known.model(id).known:
                continue
            if looks_secret(id):  # noted as such already
                continue
            near = nearest(id, known.ids())
            hint = (
                f'If it exists, declare it as [models."{id}"] with input and output in USD per million tokens, or run '
                "`cheapfirst catalog sync`. Ids of another server need upstream.base_url."
            )
            problems.add(("tiers", tier.name), f'unknown model "{id}"{near}{following(near, hint)}')


@lru_cache(maxsize=16)
def is_openrouter(base_url: str) -> bool:
    """Whether requests go to OpenRouter itself, whose model ids the catalog knows."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:  # no address at all; noted where the upstream is read
        return False
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")


def _models(table: object, problems: Problems) -> dict[str, ModelOverride]:
    path: Key = ("models",)
    if not isinstance(table, Mapping):
        problems.add(path, f'must be a table like [models."author/slug"], not {fields.kind_of(table)}')
        return {}
    return {id: fields.make(ModelOverride, value, (*path, id), problems) for id, value in table.items()}


def _limits(table: object, problems: Problems) -> Limits:
    values = fields.read(Limits, table, ("limits",), problems, skip=("timeouts",))
    timeouts = table.get("timeouts", {}) if isinstance(table, Mapping) else {}
    return Limits(timeouts=fields.make(Timeouts, timeouts, ("limits", "timeouts"), problems), **values)


def _upstream(table: object, problems: Problems) -> Upstream:
    values = fields.read(Upstream, table, ("upstream",), problems, skip=("breaker",))
    breaker = table.get("breaker", {}) if isinstance(table, Mapping) else {}
    found = Upstream(
        breaker=fields.make(BreakerOptions, breaker, ("upstream", "breaker"), problems),
        **values,
    )
    if (wrong := _wrong_address(found.base_url)) is not None:
        problems.add(("upstream", "base_url"), wrong)
    for name in ("title", "referer"):
        if _CONTROL.search(getattr(found, name) or ""):
            problems.add(("upstream", name), "is sent as a header, so it must be one line without control characters")
    if not _VARIABLE_NAME.fullmatch(found.key_env):
        problems.add(
            ("upstream", "key_env"),
            "must be the name of an environment variable, like OPENROUTER_API_KEY, never the key itself",
        )
    return found


def _wrong_address(base_url: object) -> str | None:
    """What is wrong with an upstream's address, if anything."""
    try:
        url = urlsplit(base_url) if isinstance(base_url, str) else None
        usable = url is not None and url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or url is None or _UNSENDABLE.search(str(base_url)):
        return "must be an address like https://openrouter.ai/api/v1"
    if url.username or url.password or url.query or url.fragment:
        return "must not carry a name, a password or a query; the key comes from key_env"
    return None


def _default_task(
    table: Mapping[str, Any], all_routes: Mapping[str, Any], own: Mapping[str, Any], problems: Problems
) -> str:
    """The task of requests that name none: the one given, else chat, else the first of the table."""
    if "default_task" not in table:
        return "chat" if "chat" in all_routes else next(iter(own or all_routes), "chat")
    name = table["default_task"]
    if not isinstance(name, str):
        problems.add(("default_task",), f"must be a task's name, not {fields.kind_of(name)}")
        return "chat"
    if name not in all_routes:
        problems.unknown(("default_task",), "task", name, sorted(all_routes))
    return name


def _secrets(value: object, path: Key, problems: Problems) -> None:
    """Refuse anything that looks like an API key, anywhere in the table, without repeating it."""
    if isinstance(value, str) and looks_secret(value):
        problems.add(
            path, "holds what looks like an API key. Put the key into an environment variable (upstream.key_env)"
        )
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _secrets(item, (*path, name), problems)
    elif isinstance(value, list):
        for item in value:
            _secrets(item, path, problems)


def _syntax(error: tomllib.TOMLDecodeError) -> str:
    what, _, where = str(error).partition(" (at ")
    line = re.search(r"line (\d+), column (\d+)", where)
    at = f"line {line[1]}, column {line[2]}" if line else "at its end"
    return f"{at}: not valid TOML: {what[:1].lower()}{what[1:]}"


def _places() -> Iterator[Path]:
    yield Path.cwd() / FILE
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main:
        yield Path(main).resolve().parent / FILE


def _existing(path: Path, otherwise: str) -> Path:
    if not path.is_file():
        raise PolicyError([otherwise], source=str(path))
    return path


def _built_in() -> str:
    return Path(__file__).with_name("default.toml").read_text(encoding="utf-8")
