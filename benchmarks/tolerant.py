"""Malformed answers of real models and the corpora of other parsers: what is read right, refused, silently wrong.

    python -m benchmarks.tolerant [--data DIR] [--json FILE]

`correct`: the value (or the calls) that is right. `wrong`: read, valid against the declared schema, and not right.
`refused`: the rest, which a cascade would escalate. Times are of reading alone, per KB of text.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import baml, bfcl, peers
from cheapfirst.checks import align, calls
from cheapfirst.checks.parse import Parsed, parse
from cheapfirst.checks.repair import Reader
from cheapfirst.checks.strings import Broken

DATA = Path(__file__).parent.parent / ".." / "shared" / "data"
CHECKED = Path(__file__).parent / "tolerant_checked.jsonl"
OURS = "cheapfirst"
BASELINE = 0.53
"""Share of the gradeable decode failures (dev) that stripping fences and tags, Python's parser and json_repair read."""
CUTS = 3
"""Places at which each whole answer is cut off."""

Row = dict[str, Any]
Calls = list[Row]
ReadCalls = Callable[[Row], Calls | None]
ReadValue = Callable[[str, Row | None], tuple[bool, Any]]


class Tally(Struct):
    """What one parser did on one corpus."""

    corpus: str
    parser: str
    n: int = 0
    correct: int = 0
    refused: int = 0
    wrong: int = 0
    repaired: int = 0  # read although no JSON: neither right nor wrong
    seconds: float = 0.0
    characters: int = 0

    def add(self, verdict: str) -> None:
        """Count one row as `correct`, `refused`, `wrong` or `repaired`."""
        self.n += 1
        setattr(self, verdict, getattr(self, verdict) + 1)

    def row(self) -> Row:
        """The shares, for people and for `--json`."""
        shares = {key: round(getattr(self, key) / max(self.n, 1), 4) for key in ("correct", "refused", "wrong")}
        speed = round(self.seconds * 1e6 / max(self.characters / 1024, 1e-9), 2)
        if self.repaired:
            shares["repaired"] = round(self.repaired / self.n, 4)
        return {"corpus": self.corpus, "parser": self.parser, "n": self.n, **shares, "us_per_kb": speed}


def ours(row: Row, *, aligned: bool = True) -> Calls | None:
    """The calls of an answer as the library reads them."""
    result = calls.read({"content": row["raw"]}, row["tools"], align=None if aligned else ())
    return result.value if isinstance(result, Parsed) else None


def readers() -> tuple[dict[str, ReadCalls], dict[str, ReadValue], list[str]]:
    """Every parser as a reader of calls and as a reader of values, and which ones are absent."""
    loads, absent = peers.loaders()

    def calls_by(name: str, load: peers.Load) -> ReadCalls:
        def read(row: Row) -> Calls | None:
            found = peers.calls(load, row["raw"], bare=name == "strict json")
            return [{"name": one, "arguments": given} for one, given in found] or None

        return read

    def ours_value(text: str, schema: Row | None) -> tuple[bool, Any]:
        result = parse(text, schema)
        return (True, result.value) if isinstance(result, Parsed) else (False, None)

    def value_by(load: peers.Load) -> ReadValue:
        return lambda text, schema: peers.attempt(load, text)

    by_calls: dict[str, ReadCalls] = {OURS: ours} | {name: calls_by(name, load) for name, load in loads.items()}
    by_value: dict[str, ReadValue] = {OURS: ours_value} | {name: value_by(load) for name, load in loads.items()}
    return by_calls, by_value, absent


def timed(tally: Tally, text: str, read: Callable[[], Any]) -> Any:
    """What `read` gives, its time added to the tally."""
    began = time.perf_counter()
    result = read()
    tally.seconds += time.perf_counter() - began
    tally.characters += len(text)
    return result


def valid(found: Calls, tools: list[Row]) -> bool:
    """Whether every call names a declared tool and fits its parameters."""
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    parameters |= {name.replace(".", "_"): schema for name, schema in parameters.items()}
    return all(
        isinstance(call["arguments"], dict)
        and call["name"] in parameters
        and align.fits(call["arguments"], parameters[call["name"]])
        for call in found
    )


def gradeable(path: Path) -> list[Row]:
    """The decode failures of the Python categories, with their declarations as tools."""
    found = []
    for row in bfcl.rows(path):
        if row["task"] not in bfcl.LANGUAGES:
            row["functions"] = bfcl.functions(row)
            row["tools"] = bfcl.tools(row["functions"], row["task"])
            found.append(row)
    return found


def decode_failures(rows: Sequence[Row], by_calls: dict[str, ReadCalls]) -> Iterable[Tally]:
    """Real answers that a strict decoder refused, graded against the possible answers."""
    for name, read in by_calls.items():
        tally = Tally("bfcl_decode_failures", name)
        for row in rows:
            found = timed(tally, row["raw"], partial(read, row))
            if found and bfcl.grade(found, row["possible_answer"], row["functions"]):
                tally.add("correct")
            else:
                tally.add("wrong" if found and valid(found, row["tools"]) else "refused")
        yield tally


def fingerprint(found: Calls | None) -> str:
    """SHA-256 of calls as canonical JSON; `refuse` for none."""
    if found is None:
        return "refuse"
    return hashlib.sha256(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hand_checked(rows: Sequence[Row], by_calls: dict[str, ReadCalls]) -> Iterable[Tally]:
    """Answers whose faithful reading was judged by reading them: only what the text says, whether or not it is right.

    Ours is read without alignment here, since the faithful reading is what stands in the text.
    """
    checked = {one["id"]: one for one in map(json.loads, CHECKED.read_text().splitlines())}
    sample = [row for row in rows if row["id"] in checked]
    if not sample:
        print("hand_checked: none of the answers read by hand is among these rows; it is skipped.")
        return
    for name, read in by_calls.items():
        tally = Tally("hand_checked", name)
        for row in sample:
            plainly = read if name != OURS else partial(ours, aligned=False)
            found = timed(tally, row["raw"], partial(plainly, row))
            wanted = checked[row["id"]]["calls"]
            names = {one["name"].replace(".", "_"): one["name"] for one in row["functions"]}
            if found is None or not valid(found, row["tools"]):
                plain = found is None or fingerprint(_named(found, names)) != wanted
                tally.add("correct" if wanted == "refuse" or not plain else "refused")
            else:
                tally.add("correct" if fingerprint(_named(found, names)) == wanted else "wrong")
        yield tally


def _named(found: Calls, names: dict[str, str]) -> Calls:
    return [{**call, "name": names.get(call["name"].replace(".", "_"), call["name"])} for call in found]


def cut_off(rows: Sequence[Row], by_calls: dict[str, ReadCalls]) -> Iterable[Tally]:
    """Answers that are one list or object, cut off inside it: correct is to refuse, wrong to hand out any call."""
    chance = random.Random(11)
    cuts = []
    for row in rows:
        text = row["raw"].strip()
        if text[:1] in ("[", "{") and _one_container(text):
            cuts += [{**row, "raw": text[: chance.randrange(1, len(text))]} for _ in range(CUTS)]
    for name, read in by_calls.items():
        tally = Tally("cut_off", name)
        for row in cuts:
            tally.add("wrong" if timed(tally, row["raw"], partial(read, row)) else "correct")
        yield tally


def _one_container(text: str) -> bool:
    try:
        return Reader(text, calls=True).value(0)[1] == len(text)
    except Broken:
        return False


def json_repair_cases(rows: Sequence[Row], by_value: dict[str, ReadValue]) -> Iterable[Tally]:
    """json_repair's own tests. Many of them complete a cut-off text or guess at one; we refuse those."""
    for name, read in by_value.items():
        tally = Tally("json_repair_cases", name)
        for row in rows:
            told, value = timed(tally, row["input"], partial(read, row["input"], None))
            tally.add("refused" if not told else "correct" if _equal(value, row["expected"]) else "wrong")
        yield tally


def baml_cases(rows: Sequence[Row], by_value: dict[str, ReadValue]) -> Iterable[Tally]:
    """BAML's cases of one whole JSON value with a schema; a value that does not fit its schema counts as refused."""
    reasons: Counter[str] = Counter()
    kept = []
    for row in rows:
        schema, reason = baml.usable(row)
        if schema is None:
            reasons[reason] += 1
        else:
            kept.append((row, schema))
    for reason, count in reasons.most_common():
        print(f"baml_jsonish_cases: {count} left out: {reason}")
    for name, read in by_value.items():
        tally = Tally("baml_jsonish_cases", name)
        for row, schema in kept:
            given = row["input"], schema
            told, value = timed(tally, row["input"], partial(read, *given))
            right = told and _equal(_present(value), _present(row["expected"]))
            caught = not told or not align.fits(value, schema)
            tally.add("correct" if right else "refused" if caught else "wrong")
        yield tally


def _present(value: Any) -> Any:
    """A value without members that are null: BAML spells absent ones so."""
    if isinstance(value, dict):
        return {key: _present(part) for key, part in value.items() if part is not None}
    return [_present(item) for item in value] if isinstance(value, list) else value


def _equal(one: Any, two: Any) -> bool:
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True) or (one == two and one is not True)
    except (TypeError, ValueError, RecursionError):
        return False


def json_test_suite(rows: Sequence[Row], by_value: dict[str, ReadValue]) -> Iterable[Tally]:
    """Files that are JSON must give what strict JSON gives. Of files that are not, `correct` counts the refused, and
    `repaired` those that were read as what they loosely spell."""
    whole = [row for row in rows if row["bytes_b64"] is not None]
    if len(whole) < len(rows):
        print(f"nst_json_test_suite: {len(rows) - len(whole)} files are listed without their bytes and are left out.")
    for kind, corpus in (("accept", "nst_accept"), ("reject", "nst_reject")):
        for name, read in by_value.items():
            tally = Tally(corpus, name)
            for row in whole:
                if row["expect"] != kind:
                    continue
                try:
                    text = base64.b64decode(row["bytes_b64"]).decode()
                except UnicodeDecodeError:
                    tally.add("refused" if kind == "accept" else "correct")
                    continue
                told, value = timed(tally, text, partial(read, text, None))
                if kind == "reject":
                    tally.add("repaired" if told else "correct")
                else:
                    same = told and repr(value) == repr(json.loads(text))
                    tally.add("correct" if same else "wrong" if told else "refused")
            yield tally


def strict_speed(by_value: dict[str, ReadValue], rows: Sequence[Row]) -> Iterable[Tally]:
    """Text that is plain JSON: what tolerance costs when it is not needed."""
    text = json.dumps([{"id": row["id"], "question": row["question"], "tools": row["tools"]} for row in rows[:40]])
    for name in (OURS, "strict json"):
        tally = Tally("plain_json", name)
        for _ in range(20):
            told, _ = timed(tally, text, partial(by_value[name], text, None))
            tally.add("correct" if told else "refused")
        yield tally


def measure(data: Path) -> Iterable[Tally]:
    """All corpora that are there; a sentence on each that is not."""
    by_calls, by_value, absent = readers()
    for sentence in absent:
        print(sentence)
    folder = data / "malformed"
    path = folder / "bfcl_decode_failures.jsonl.gz"
    if path.is_file():
        rows = gradeable(path)
        for corpus in (decode_failures, hand_checked, cut_off):
            yield from corpus(rows, by_calls)
        yield from strict_speed(by_value, rows)
    else:
        print(f"{path} is not there: bfcl_decode_failures, hand_checked and cut_off are skipped.")
    for name, corpus_of_values in (
        ("json_repair_cases", json_repair_cases),
        ("baml_jsonish_cases", baml_cases),
        ("nst_json_test_suite", json_test_suite),
    ):
        path = folder / f"{name}.jsonl.gz"
        if path.is_file():
            yield from corpus_of_values(list(bfcl.rows(path)), by_value)
        else:
            print(f"{path} is not there: {name} is skipped.")


def main() -> None:
    """Print one line for each corpus and parser, and write them with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a folder that holds malformed/")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    sys.setrecursionlimit(10_000)
    result = []
    for tally in measure(options.data):
        row = tally.row()
        result.append(row)
        print(
            f"{row['corpus']:22} {row['parser']:20} n={row['n']:5}  correct {row['correct']:6.1%}  "
            f"refused {row['refused']:6.1%}  wrong {row['wrong']:6.1%}  {row['us_per_kb']:9.1f} us/KB"
            + (f"  repaired {row['repaired']:.1%}" if "repaired" in row else "")
        )
    print(f"baseline on bfcl_decode_failures (dev): correct {BASELINE:.0%}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
