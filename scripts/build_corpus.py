"""Build the sample requests that ship with the simulator out of the documents in scripts/corpus.

    python -m scripts.build_corpus [--check]

Every document was written for this project. Names, numbers, products and dates are filled in from lists by a seeded
generator, so the same documents give the same file. `--check` writes nothing and fails when the file is not current.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts import corpus_slots

SOURCES = Path(__file__).parent / "corpus"
OUT = Path(__file__).parent.parent / "src/cheapfirst/simulator"
SEED = 20260131
_SCHEMAS: dict[str, dict[str, Any]] = tomllib.loads((SOURCES / "schemas.toml").read_text())
_TASKS = {"intent": "classify", "sentiment": "classify", "ticket": "extract", "invoice": "extract", "review": "extract"}
_FEATURES = {
    "intent": "inbox", "sentiment": "reviews", "ticket": "inbox", "invoice": "invoices", "review": "reviews",
    "summarize": "news", "chat": "assistant", "draft": "replies", "reason": "analysis", "report": "analysis",
}  # fmt: skip
_TENANTS = ("acme", "acme", "acme", "nordwind", "nordwind", "bistro42")
_CHOICE = re.compile(r"\[\[([^\]]*)\]\]")

Doc = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="Fail when the shipped file is not current.")
    check = arguments.parse_args().check
    files = {
        OUT / "corpus.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()),
        OUT / "corpus_schemas.json": json.dumps(_SCHEMAS, ensure_ascii=False, indent=1) + "\n",
    }
    for path, text in files.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is not what the documents give: run python -m scripts.build_corpus")


def rows() -> list[Doc]:
    """Every request, in a mixed order that never changes."""
    made: list[Doc] = []
    seen: set[str] = set()
    for number, (kind, doc) in enumerate(_docs()):
        for turn in range(doc.get("times", 1)):
            made.append(_row(kind, doc, number, turn, seen))
    random.Random(SEED).shuffle(made)
    return [{"id": f"{row['task']}-{number:03}", **row} for number, row in enumerate(made, 1)]


def _docs() -> Iterator[tuple[str, Doc]]:
    for name, kind in (
        ("mails", ""),
        ("reviews", ""),
        ("invoices", "invoice"),
        ("articles", "summarize"),
        ("talks", ""),
    ):
        for doc in tomllib.loads((SOURCES / f"{name}.toml").read_text(encoding="utf-8"))["doc"]:
            yield kind or doc.get("schema") or doc["task"], doc


def _row(kind: str, doc: Doc, number: int, turn: int, seen: set[str]) -> Doc:
    """One request: the document with its slots filled, differently from every other."""
    for again in range(100):
        rng = random.Random(f"{SEED}|{number}|{turn}|{again}")
        slots = corpus_slots.Slots(doc.get("language", "en"), rng)
        gold: Any = _invoice(doc, slots, rng) if kind == "invoice" else None
        text = _filled(_chosen(doc["text"], rng), slots)
        if "suffix" in doc:
            text += _filled(doc["suffix"][turn], slots)
        if text not in seen:
            break
    else:
        raise SystemExit(f"document {number} ({kind}) has too few slots for {doc['times']} requests")
    seen.add(text)
    schema = kind if kind in _SCHEMAS else None
    if gold is None:
        gold = _gold(doc["gold"], slots, schema)
    turns = [
        {"role": "assistant" if at % 2 else "user", "content": _filled(said, slots)}
        for at, said in enumerate(doc.get("before", []))
    ]
    return {
        "task": _TASKS.get(kind, kind),
        "input": [*turns, {"role": "user", "content": text}] if turns else text,
        **({"schema": schema} if schema else {}),
        "gold": gold,
        "feature": _FEATURES[kind],
        "tenant": rng.choice(_TENANTS),
        "language": doc.get("language", "en"),
    }


def _gold(gold: Any, slots: corpus_slots.Slots, schema: str | None) -> Any:
    """The right answer with its slots filled; what a mail does not say is null."""
    if schema is None:
        return _filled(gold, slots)
    filled = {name: _deep(value, slots) for name, value in gold.items()}
    return {name: filled.get(name) for name in _SCHEMAS[schema]["required"]}


def _deep(value: Any, slots: corpus_slots.Slots) -> Any:
    if isinstance(value, list):
        return [_deep(entry, slots) for entry in value]
    return _filled(value, slots) if isinstance(value, str) else value


def _invoice(doc: Doc, slots: corpus_slots.Slots, rng: random.Random) -> Doc:
    """Make up line items, put them and their sum into the slots, and return what is to be extracted."""
    goods = rng.sample(corpus_slots.GOODS[doc["goods"]], rng.randrange(2, 5))
    items, lines, total = [], [], 0
    for description, low, high in goods:
        quantity, unit = rng.choice((1, 1, 2, 3, 4, 6, 10, 12)), rng.randrange(low, high)
        amount = quantity * unit
        total += amount
        shown = {key: corpus_slots.amount(cents, doc["style"]) for key, cents in (("unit", unit), ("amount", amount))}
        lines.append(doc["row"].format(description=description, quantity=quantity, **shown))
        items.append({"description": description, "quantity": quantity, "amount": _number(amount, doc["style"])})
    slots.put("rows", "\n".join(lines))
    slots.put("total", corpus_slots.amount(total, doc["style"]))
    return {
        "vendor": slots["vendor"],
        "invoice_number": slots["number"],
        "date": slots["date_iso"],
        "currency": doc["currency"],
        "total": _number(total, doc["style"]),
        "line_items": items,
    }


def _number(cents: int, style: str) -> int | float:
    return cents if style == "1,234" else cents / 100


def _chosen(text: str, rng: random.Random) -> str:
    return _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), text)


def _filled(text: str, slots: corpus_slots.Slots) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: slots[found[1]], text).strip()


if __name__ == "__main__":
    main()
