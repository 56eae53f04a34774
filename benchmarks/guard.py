"""How much sooner a doomed answer makes way: recorded tool calls streamed at their recorded speed, on a virtual clock.

    python -m benchmarks.guard [--data DIR] [--premium MODEL] [--piece CHARACTERS] [--json FILE]

Recorded answers (BFCL) of every model that answers in the protocol's own tool calls are streamed one after the other.
Those that the verdict rejects are escalated: the time from the request to the final answer is the time until the cheap
answer was given up plus the premium model's recorded time. It is given up

    hold     at its end,
    guard    at the end of the piece in which the guard dooms it,
    oracle   at the first character after which no ending is accepted.

The oracle is found by trying: a beginning is alive as long as one of many endings made from the schema is accepted by
the verdict itself. An ending that was not thought of makes the oracle too early, never too late, so guard's share of
its saving is, if anything, too low. Nothing sleeps: a character comes at the recorded duration times its share of the
recorded text. The recordings say how long an answer took, not when its first token came; the request's own way is
counted as part of the text.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import bfcl
from cheapfirst.checks import judge
from cheapfirst.checks.align import folded
from cheapfirst.checks.guard import Guard
from cheapfirst.messages import Outcome, Wire

DATA = Path(__file__).parent.parent / ".." / "shared" / "data"
FILE = "bfcl/bfcl_2024_08_11.jsonl.gz"
PREMIUM = "gpt-4o-2024-08-06-FC"


class Given(Struct, frozen=True):
    """One recorded answer: its calls, as name and JSON text, and how long it took (seconds)."""

    calls: tuple[tuple[str, str], ...]
    seconds: float


class Escalated(Struct, frozen=True):
    """One rejected answer: characters in all, when each gave it up, and the seconds of both answers."""

    size: int
    guard: int
    oracle: int
    cheap: float
    premium: float

    def until(self, given_up: int) -> float:
        """Seconds from the request to the final answer."""
        return self.cheap * given_up / max(1, self.size) + self.premium


def given(one: dict[str, Any]) -> Given | None:
    """A recorded answer in the protocol's own tool calls; None for text, and for none at all."""
    out = one["out"]
    if not isinstance(out, list) or not one.get("latency_s"):
        return None
    calls = tuple(
        (name, text if isinstance(text, str) else json.dumps(text))
        for call in out
        if isinstance(call, dict)
        for name, text in call.items()
    )
    return Given(calls, float(one["latency_s"])) if calls else None


def accepted(calls: tuple[tuple[str, str], ...], tools: list[Wire]) -> bool:
    """The verdict on these calls."""
    wired = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": text}}
        for number, (name, text) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": wired}
    return judge(Outcome(kind="answer", message=message), shape="json", tools=tools).verdict.accept


def guarded(calls: tuple[tuple[str, str], ...], tools: list[Wire], piece: int) -> int | None:
    """Characters that had come when the guard doomed the answer; None: it never did."""
    guard = Guard(shape="json", tools=tools)
    come = 0
    for number, (name, text) in enumerate(calls):
        begun = {"index": number, "id": f"c{number}", "function": {"name": name, "arguments": ""}}
        pieces: list[Wire] = [begun]
        pieces += [
            {"index": number, "function": {"arguments": text[at : at + piece]}} for at in range(0, len(text), piece)
        ]
        for part in pieces:
            come += len(part["function"]["arguments"])
            if guard.feed({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]}) is not None:
                return come
    return None


def oracle(calls: tuple[tuple[str, str], ...], tools: list[Wire]) -> int:
    """The fewest characters after which no ending is accepted; the size when there is one until the end."""
    before = 0
    declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    for number, (name, text) in enumerate(calls):
        schema = next((declared[known] for known in declared if folded(known) == folded(name)), None)
        if schema is None:
            return before
        low, high = 0, len(text) + 1  # alive at low, dead at high (one more than all: never)
        while high - low > 1:
            middle = (low + high) // 2
            alive = any(
                accepted((*calls[:number], (name, text[:middle] + ending)), tools)
                for ending in endings(text[:middle], schema)
            )
            low, high = (middle, high) if alive else (low, middle)
        if high <= len(text):
            return before + high
        before += len(text)
    return before


def endings(begun: str, schema: Wire) -> Iterator[str]:
    """Endings that may make a valid object of a beginning."""
    frames, state, part = _read(begun, schema)
    if state == "done":
        yield ""
        return
    if state == "lost":
        yield ""
        return
    place = frames[-1][1] if frames else schema
    due = _due(frames)
    for tail, key in _tails(state, part, due if state != "key" else place, frames):
        yield tail + _closed(frames, key, after_comma=state == "first" and begun.rstrip().endswith(","))


def _read(begun: str, schema: Wire) -> tuple[list[list[Any]], str, str]:
    """The containers that are open (kind, schema, names or count, name under way), what is under way, and its text."""
    frames: list[list[Any]] = []
    state, part, at = "value", "", 0
    while at < len(begun):
        mark = begun[at]
        if state in ("string", "key"):
            if mark == "\\":
                part += begun[at : at + 2]
                at += 2
                continue
            if mark == '"':
                if state == "key":
                    frames[-1][3] = json.loads(f'"{part}"')
                    frames[-1][2].append(frames[-1][3])
                    state = "colon"
                else:
                    state = "next"
                part = ""
            else:
                part += mark
        elif state == "token" and mark not in ",]} \n\t\r":
            part += mark
        elif mark in " \n\t\r":
            state, part = ("next", "") if state == "token" else (state, part)
        else:
            if state == "token":
                state, part = "next", ""
            if mark == "{":
                frames.append(["{", _due(frames) if frames else schema, [], None])
                state = "first"
            elif mark == "[":
                frames.append(["[", _due(frames) if frames else schema, [], None])
                state = "value"
            elif mark in "}]":
                if not frames:
                    return frames, "lost", ""
                frames.pop()
                state = "next" if frames else "done"
            elif mark == ",":
                state = "first" if frames and frames[-1][0] == "{" else "value"
            elif mark == ":":
                state = "value"
            elif mark == '"':
                state, part = ("key" if state == "first" else "string"), ""
            else:
                state, part = "token", mark
        at += 1
    return frames, state, part


def _due(frames: list[list[Any]]) -> Wire:
    """The schema of the value that is due or under way."""
    if not frames:
        return {}
    kind, schema, _, name = frames[-1]
    schema = schema if isinstance(schema, dict) else {}
    if kind == "[":
        found = schema.get("items")
    else:
        properties = schema.get("properties") or {}
        found = properties.get(name) or next(
            (part for known, part in properties.items() if folded(known) == folded(str(name))), {}
        )
    return found if isinstance(found, dict) else {}


def _tails(state: str, part: str, due: Wire, frames: list[list[Any]]) -> Iterator[tuple[str, Any]]:
    """Ways to end what is under way, each with the name that it completes, if any."""
    if state == "string":
        for word in (*map(str, due.get("enum") or ()), "", "1", "true", "x" * int(due.get("minLength") or 0)):
            yield from ((f'{rest}"', None) for rest in _rests(part, word))
    elif state == "key":
        properties = list((due.get("properties") or {}) if isinstance(due, dict) else {})
        for name in (*properties, ""):
            for rest in _rests(part, name):
                child = (due.get("properties") or {}).get(name, {})
                yield f'{rest}": {_sample(child)}', name
    elif state == "token":
        words = [word[len(part) :] for word in ("true", "false", "null") if word.startswith(part)]
        yield from ((rest, None) for rest in (*words, "", "0", ".0", "1"))
    elif state == "colon":
        yield f": {_sample(due)}", None
    elif state == "value":
        yield _sample(due), None
        if frames and frames[-1][0] == "[":
            yield "", None
    else:
        yield "", None


def _rests(begun: str, word: str) -> Iterator[str]:
    """What is missing of a word after its beginning, in its own spelling or another; the word itself after none."""
    if not word or word.startswith(begun):
        yield word[len(begun) :] if word else ""
    elif folded(word).startswith(folded(begun)):
        for at in range(len(word) + 1):
            if folded(word[:at]) == folded(begun):
                yield word[at:]


def _closed(frames: list[list[Any]], completed: Any, *, after_comma: bool) -> str:
    """The missing members and brackets of all that is open."""
    text = ""
    for depth, (kind, schema, names, _) in enumerate(reversed(frames)):
        if kind == "{":
            schema = schema if isinstance(schema, dict) else {}
            there = {folded(str(name)) for name in (*names, *([completed] if depth == 0 and completed else []))}
            missing = [name for name in schema.get("required") or () if folded(name) not in there]
            members = [
                f"{json.dumps(name)}: {_sample((schema.get('properties') or {}).get(name, {}))}" for name in missing
            ]
            lead = ", " if members and (names or completed) and not (after_comma and depth == 0) else ""
            text += lead + ", ".join(members) + "}"
        else:
            text += "]"
    return text


def _sample(schema: Any) -> str:
    """Some value that fits a schema."""
    schema = schema if isinstance(schema, dict) else {}
    if schema.get("enum"):
        return json.dumps(schema["enum"][0])
    kind = schema.get("type")
    if kind == "object":
        members = (schema.get("properties") or {}).items()
        needed = schema.get("required") or ()
        return "{" + ", ".join(f"{json.dumps(name)}: {_sample(part)}" for name, part in members if name in needed) + "}"
    return {"array": "[]", "integer": "1", "number": "1", "boolean": "true"}.get(str(kind), '"x"')


def run(data: Path, premium: str, piece: int) -> tuple[list[Escalated], dict[str, int]]:
    """Every rejected answer, and counts of all answers."""
    found: list[Escalated] = []
    counts = {"answers": 0, "right_cut": 0, "rejected": 0, "not_doomed": 0}
    for row in bfcl.rows(data / FILE):
        if row["task"] == "relevance" or not (row["models"].get(premium) or {}).get("latency_s"):
            continue
        tools = bfcl.tools(bfcl.functions(row), row["task"])
        after = float(row["models"][premium]["latency_s"])
        for model, one in row["models"].items():
            answer = given(one)
            if answer is None or model == premium:
                continue
            counts["answers"] += 1
            cut = guarded(answer.calls, tools, piece)
            if accepted(answer.calls, tools):
                counts["right_cut"] += cut is not None
                continue
            counts["rejected"] += 1
            counts["not_doomed"] += cut is None
            size = sum(len(text) for _, text in answer.calls)
            found.append(
                Escalated(
                    size=size,
                    guard=size if cut is None else cut,
                    oracle=min(oracle(answer.calls, tools), size),
                    cheap=answer.seconds,
                    premium=after,
                )
            )
    return found, counts


def figures(found: list[Escalated]) -> dict[str, Any]:
    """Median and p95 in seconds of each way, and guard's share of the oracle's saving."""
    ways = {
        "hold": [one.until(one.size) for one in found],
        "guard": [one.until(one.guard) for one in found],
        "oracle": [one.until(one.oracle) for one in found],
    }
    told: dict[str, Any] = {
        name: {"median": statistics.median(times), "p95": statistics.quantiles(times, n=20)[-1]}
        for name, times in ways.items()
    }
    saved = {name: sum(ways["hold"]) - sum(ways[name]) for name in ("guard", "oracle")}
    told["saved_seconds"] = saved
    told["share"] = saved["guard"] / saved["oracle"] if saved["oracle"] else None
    return told


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--premium", default=PREMIUM)
    parser.add_argument("--piece", type=int, default=4, help="characters that come at once")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not (arguments.data / FILE).is_file():
        parser.error(f"no recordings at {arguments.data / FILE}; give their folder with --data")
    found, counts = run(arguments.data, arguments.premium, arguments.piece)
    if len(found) < 2:
        parser.error(f"the recordings hold {len(found)} rejected answers beside {arguments.premium}")
    told = figures(found)
    print(
        f"{counts['answers']:,} recorded answers in tool calls, {counts['rejected']} rejected and escalated to "
        f"{arguments.premium}; {counts['not_doomed']} of them were not doomed before their end; "
        f"right answers cut: {counts['right_cut']}"
    )
    print("replayed on a virtual clock: recorded answers and durations, simulated streaming\n")
    print(f"{'request to final answer':<24}{'median s':>10}{'p95 s':>10}")
    for way in ("hold", "guard", "oracle"):
        print(f"{way:<24}{told[way]['median']:>10.2f}{told[way]['p95']:>10.2f}")
    print(
        f"\nguard's share of the oracle's saving: {told['share']:.1%} "
        f"({told['saved_seconds']['guard']:.1f} of {told['saved_seconds']['oracle']:.1f} s over all)"
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({**told, **counts, "escalated": len(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
