"""Reads an answer's body, whole or assembled from a stream, into an Outcome: answer, cut-off, refusal or fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import structs

from cheapfirst.catalog.cost import lone_fee, reported
from cheapfirst.messages import Fault, Finding, Outcome, OutcomeKind, Usage, Wire
from cheapfirst.upstream import faults, refusals
from cheapfirst.upstream.assemble import Assembly

CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"})
"""Finish words, in lower case, that mean the answer was cut off: providers' own words survive a rewritten reason."""

WITHHELD = frozenset({"content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation", "spii"})
"""Finish words, in lower case, that mean the provider held the answer back."""


def read(
    body: Wire,
    request: Wire,
    *,
    headers: Mapping[str, str] | None = None,
    streamed: bool = False,
    done: bool = True,
    fault: Fault | None = None,
    secrets: tuple[str, ...] = (),
    duration: float = 0.0,
    first_token: float | None = None,
) -> Outcome:
    """Return what came back.

    `request` is the body that was sent, `done` whether nothing more was to come (a stream: it said [DONE]), `fault` a
    fault already known (the connection broke, time ran out). Usage and cost are kept on faults too.
    `duration` and `first_token` (seconds) stand in it as they are given.
    """
    choice = _judged(body.get("choices"))
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    finish, native = _word(choice.get("finish_reason")), _word(choice.get("native_finish_reason"))
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) and usage else None
    made = Outcome(
        kind="fault",
        message=message,
        text=text_of(message.get("content")),
        finish=finish,
        native_finish=native,
        model=_word(body.get("model")),
        provider=_word(body.get("provider")),
        generation_id=_word(body.get("id")) or _header(headers, "X-Generation-Id"),
        usage=read_usage(usage),
        reported_cost=reported(usage),
        fee=lone_fee(usage),
        duration=duration,
        first_token=first_token,
    )
    if fault is not None:
        return structs.replace(made, fault=fault)
    kind, fault = _kind(body, choice, made, request, streamed=streamed, done=done, secrets=secrets)
    return structs.replace(made, kind=kind, fault=fault, body=None if kind == "fault" else body)


def doomed(chunks: Iterable[Wire], request: Wire, doom: Finding, *, duration: float) -> Outcome:
    """The Outcome of a streamed answer that was cut short because of `doom`, as far as it had come."""
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    made = read(assembly.body(), request, streamed=True, fault=faults.make("cut_stream"), duration=duration)
    return structs.replace(made, kind="doomed", fault=None, doom=doom)


def read_usage(usage: Wire | None) -> Usage | None:
    """Tokens from the wire's `usage` object; None when it is absent or counts nothing we know."""
    if not usage or not any(key in usage for key in ("prompt_tokens", "completion_tokens", "total_tokens")):
        return None
    prompt = _part(usage.get("prompt_tokens_details"))
    completion = _part(usage.get("completion_tokens_details"))
    cached = prompt.get("cached_tokens")
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(cached if cached is not None else usage.get("prompt_cache_hit_tokens")),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
    )


def text_of(content: Any) -> str:
    """The text of a message's content: the string itself, or its text parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _kind(
    body: Wire,
    choice: Wire,
    made: Outcome,
    request: Wire,
    *,
    streamed: bool,
    done: bool,
    secrets: tuple[str, ...],
) -> tuple[OutcomeKind, Fault | None]:
    words = {word.lower() for word in (made.finish, made.native_finish) if word}
    if error := body.get("error") or choice.get("error"):
        if "length" in words or (_begun(made) and refusals.is_truncation(error)):
            return "cut-off", None
        return "fault", refusals.read(error, request, secrets=secrets)
    if not choice:
        return "fault", faults.make("empty" if done else "cut_stream")
    if made.finish == "error":
        return "fault", faults.make("error_finish")
    if made.message.get("refusal") or words & WITHHELD:
        return "refusal", None
    if words & CUT_OFF:
        return "cut-off", None
    if not words and done and not _has_answer(made):
        return "fault", faults.make("empty")
    if not words and streamed and not (done and made.message.get("tool_calls")):
        # Nobody said that the answer was complete: text that merely ends is never taken for a success.
        return "fault", faults.make("cut_stream")
    return "answer", None


def _judged(choices: Any) -> Wire:
    """Choice 0, or the first one where none has that number; empty when there is none."""
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return next((choice for choice in found if choice.get("index", 0) == 0), found[0] if found else {})


def _begun(made: Outcome) -> bool:
    message = made.message
    return _has_answer(made) or any(message.get(key) for key in ("reasoning", "reasoning_content", "reasoning_details"))


def _has_answer(made: Outcome) -> bool:
    message = made.message
    others = ("tool_calls", "refusal", "images", "audio", "function_call")
    return bool(made.text) or any(message.get(key) for key in others)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _header(headers: Mapping[str, str] | None, name: str) -> str | None:
    return headers.get(name) if headers is not None else None


def _part(value: Any) -> Wire:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return max(int(value), 0) if abs(value) < 2**53 else 0
