"""Makes what a client gets out of what the cascade gives: one chat completion, or its chunks. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from cheapfirst.gateway import trail
from cheapfirst.messages import Answer, Attempt, Wire


def whole(answer: Answer) -> Wire:
    """The chat completion of an answer: the upstream's own, with clean JSON where it had to be repaired, and the
    `cheapfirst` object."""
    winner = answer.won
    body = winner.outcome.body or _made(answer)
    if "error" in body:  # upstreams send one beside what a cut-off answer holds; its finish reason says it
        body = {key: value for key, value in body.items() if key != "error"}
    choices = body.get("choices")
    if choices and _finish(choices[0]) in (None, "", "error"):  # the last: a cut-off that came as an error
        body = {**body, "choices": [_ended(choices[0], answer), *choices[1:]]}
    cleaned = _cleaned(winner, answer.plan.shape)
    if cleaned is not None:
        body = {**body, "choices": [_with_message(choice, cleaned) for choice in body.get("choices") or ()]}
    return {**body, "cheapfirst": trail.of_answer(answer)}


def chunks(body: Wire) -> Iterator[Wire]:
    """A whole chat completion as the chunks that a stream would have brought: texts, finish, usage."""
    base = {key: value for key, value in body.items() if key not in ("choices", "usage", "object", "cheapfirst")}
    base["object"] = "chat.completion.chunk"
    choices = [choice for choice in body.get("choices") or () if isinstance(choice, dict)]
    for choice in choices:
        delta = {key: value for key, value in (choice.get("message") or {}).items() if value is not None}
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [
                {"index": number, **call} if isinstance(call, dict) else call
                for number, call in enumerate(delta["tool_calls"])
            ]
        ended = ("message", "finish_reason", "native_finish_reason")
        rest = {key: value for key, value in choice.items() if key not in ended}
        yield {**base, "choices": [{**rest, "delta": {"role": "assistant", **delta}, "finish_reason": None}]}
    tail = Tail()
    for choice in choices:
        finish = {key: choice[key] for key in ("index", "finish_reason", "native_finish_reason") if key in choice}
        tail.take({**base, "choices": [{"delta": {}, **finish}]})
    if isinstance(body.get("usage"), dict):
        tail.take({**base, "choices": [], "usage": body["usage"]})
    yield from tail.end(body.get("cheapfirst"))


class Tail:
    """Holds back a stream's end until the verdict is there, so that its last chunk can tell the trail.

    Upstreams put usage on a chunk of its own or on one that repeats the finish; clients get a chunk of its own.
    """

    def __init__(self) -> None:
        self._finishes: list[Wire] = []
        self._usage: Wire | None = None
        self._last: Wire = {}  # chunk that went to the client

    def take(self, chunk: Wire) -> tuple[Wire, ...]:
        """Take one chunk; return those that can go to the client now. The upstream's own errors never do: what becomes
        of them is said at the end, in the gateway's words."""
        if chunk.get("error"):
            return ()
        usage = chunk.get("usage")
        if not usage and not self._finishes and not any(map(_finish, chunk.get("choices") or ())):
            self._last = chunk
            return (chunk,)
        if isinstance(usage, dict) and usage:
            if chunk.get("choices"):
                chunk = {key: value for key, value in chunk.items() if key != "usage"}
                self._usage = {**chunk, "choices": [], "usage": usage}
                if self._finishes and not _has_delta(chunk):
                    return ()
            else:
                self._usage = chunk
                return ()
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return (chunk,)
        if any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices):
            self._finishes.append(chunk)
            return ()
        if self._finishes and not _has_delta(chunk):
            return ()
        return (chunk,)

    def end(self, told: Wire | None, finish: str = "stop") -> Iterator[Wire]:
        """The chunks held back, the last finish with the trail; one is made, with `finish`, where none came."""
        if not self._finishes:
            base = {key: value for key, value in self._last.items() if key not in ("choices", "usage")}
            self._finishes.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        for number, chunk in enumerate(self._finishes):
            last = number == len(self._finishes) - 1
            yield {**chunk, "cheapfirst": told} if last and told is not None else chunk
        if self._usage is not None:
            yield self._usage


def finish_of(answer: Answer) -> str:
    """The finish reason of an answer, also where the upstream sent none."""
    outcome = answer.won.outcome
    if outcome.kind == "cut-off":
        return "length"
    if outcome.finish is not None:
        return outcome.finish
    return "tool_calls" if outcome.message.get("tool_calls") else "stop"


def _ended(choice: Any, answer: Answer) -> Any:
    return {**choice, "finish_reason": finish_of(answer)} if isinstance(choice, dict) else choice


def _finish(choice: Any) -> Any:
    return choice.get("finish_reason") if isinstance(choice, dict) else None


def _has_delta(chunk: Wire) -> bool:
    return any(
        isinstance(choice, dict)
        and isinstance(delta := choice.get("delta"), dict)
        and any(value for key, value in delta.items() if key != "role")
        for choice in chunk.get("choices") or ()
    )


def _cleaned(attempt: Attempt, shape: str) -> Wire | None:
    """The fields of the message that reading the answer made clean; None when it was clean as it came."""
    verdict = attempt.verdict
    if verdict is None or attempt.value is None or all(step.kind == "strict" for step in attempt.trail):
        return None
    if "calls" in verdict.checked:
        return {"content": None, "tool_calls": _calls(attempt)} if isinstance(attempt.value, list) else None
    if shape != "json" or "parse" not in verdict.checked or any(f.check == "parse" for f in verdict.findings):
        return None
    return {"content": _text(attempt.value)}


def _calls(attempt: Attempt) -> list[Wire]:
    """Tool calls as they were read, with the ids that they came with, or ids of our own."""
    came = attempt.outcome.message.get("tool_calls")
    ids: list[Any] = [call.get("id") for call in came if isinstance(call, dict)] if isinstance(came, list) else []
    same = len(ids) == len(attempt.value)
    mark = (attempt.outcome.generation_id or "call")[-20:]
    return [
        {
            "id": (ids[number] if same else None) or f"call_{mark}_{number}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": _text(call["arguments"]),
            },
        }
        for number, call in enumerate(attempt.value)
    ]


def _text(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (OverflowError, TypeError, ValueError):  # numbers longer than the encoder takes
        return json.dumps(value, ensure_ascii=False, default=str)


def _with_message(choice: Any, fields: Wire) -> Any:
    """The judged choice with these fields; the others as they are."""
    if not isinstance(choice, dict) or choice.get("index", 0) != 0:
        return choice
    made = {**choice, "message": {**(choice.get("message") or {}), **fields}}
    if fields.get("tool_calls"):
        made["finish_reason"] = "tool_calls"
    return made


def _made(answer: Answer) -> Wire:
    """A body for an answer that has none of its own."""
    outcome = answer.won.outcome
    return {
        "id": outcome.generation_id or answer.request_id,
        "object": "chat.completion",
        "model": answer.model,
        "choices": [{"index": 0, "message": answer.message, "finish_reason": outcome.finish}],
    }
