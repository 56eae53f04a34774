"""A streamed answer as the bytes that go out, in order, with their pauses, spellings and breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator import tokens, wire
from cheapfirst.simulator.answerer import text_of
from cheapfirst.simulator.wire import Served

Ending: TypeAlias = Literal["close", "cut", "hang"]
_COMMENT = b": OPENROUTER PROCESSING\n\n"
_DONE = b"data: [DONE]\n\n"
_HALVED = ("mid_stream_error", "mid_stream_error_text", "length_as_error", "cut_socket", "ends_early", "stall")


class Frame(Struct, frozen=True):
    """Bytes that go out together."""

    data: bytes
    pause: float = 0.0  # seconds before
    spent: int = 0  # completion tokens the provider has made by then
    apart: bool = False  # not to be joined with the frames beside it


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a stream goes, in seconds and tokens."""

    first_token: float = 0.0
    per_token: float = 0.0
    tokens_per_chunk: int = 4
    comments: int = 1


def frames(served: Served, pace: Pace) -> tuple[list[Frame], Ending]:
    """The whole stream, and how it ends: closed, cut off, or hanging until the client leaves."""
    faults = served.faults
    made = [Frame(_COMMENT)] * (3 if "comments" in faults else pace.comments)
    if "200_error_body" in faults:
        error = {"error": wire.provider_error(served.model), "user_id": wire.USER, "simulated": True}
        return [*made, Frame(_data(error))], "close"
    if "empty_choices" in faults:
        empty = {**wire.head(served, "chat.completion.chunk"), "choices": []}
        return [*made, Frame(_data(empty)), Frame(_DONE)], "close"
    content = list(_content(served, pace))
    if "malformed_chunk" in faults:
        middle = len(content) // 2
        content.insert(middle, Frame(b'data: {"id":"' + served.id.encode() + b'","choices":[{"index":0,"del\n\n'))
    broken = next((name for name in _HALVED if name in faults), None)
    if broken is not None:
        content = content[: max(1, len(content) // 2)]
    made += content
    made += _broken_end(served, broken) if broken else _whole_end(served)
    ending: Ending = "cut" if broken == "cut_socket" else "hang" if broken == "stall" else "close"
    return list(_spelled(made, faults)), ending


def _data(body: Wire) -> bytes:
    return b"data: " + wire.encode(body) + b"\n\n"


def _content(served: Served, pace: Pace) -> Iterator[Frame]:
    """Reasoning first, then text, then tool calls; the first frame waits for the first token."""
    spent = 0
    for index, (delta, size) in enumerate(_deltas(served, pace.tokens_per_chunk)):
        spent += size
        pause = pace.first_token if index == 0 else size * pace.per_token
        yield Frame(_data(wire.chunk(served, delta, first=index == 0)), pause, spent)


def _deltas(served: Served, step: int) -> Iterator[tuple[Wire, int]]:
    message = served.generation.message
    reasoning = message.get("reasoning")
    if reasoning:
        for text, size in _slices(reasoning, step):
            detail = {"type": "reasoning.text", "text": text, "format": None, "index": 0}
            yield {"reasoning": text, "reasoning_details": [detail]}, size
    for text, size in _slices(text_of(message.get("content")), step):
        yield {"content": text}, size
    if message.get("refusal"):
        yield {"refusal": message["refusal"]}, 0
    for index, call in enumerate(message.get("tool_calls") or []):
        yield from _call_deltas(call, index, fragments="tool_args_fragments" in served.faults, step=step)
    if not (reasoning or message.get("content") or message.get("tool_calls")):
        yield {}, 0


def _call_deltas(call: Wire, index: int, *, fragments: bool, step: int) -> Iterator[tuple[Wire, int]]:
    function = call.get("function") or {}
    arguments = str(function.get("arguments") or "")
    begun = {"index": index, "id": call.get("id"), "type": "function"}
    yield {"tool_calls": [{**begun, "function": {"name": function.get("name"), "arguments": ""}}]}, 1
    slices = (
        ((arguments[at : at + 3], 1) for at in range(0, len(arguments), 3)) if fragments else _slices(arguments, step)
    )
    for text, size in slices:
        yield {"tool_calls": [{"index": index, "type": "function", "function": {"arguments": text}}]}, size


def _slices(text: str, step: int) -> Iterator[tuple[str, int]]:
    parts = tokens.pieces(text)
    for at in range(0, len(parts), step):
        some = parts[at : at + step]
        yield "".join(some), len(some)


def _whole_end(served: Served) -> list[Frame]:
    spent = served.generation.completion
    made = [Frame(_data(wire.chunk(served, {}, finish=True)), spent=spent)]
    if "length_error_chunk" in served.faults:
        error = {"code": 400, "message": "Token limit reached"}
        return [*made, Frame(_data(wire.error_chunk(served, error, usage={})), spent=spent), Frame(_DONE, spent=spent)]
    last = wire.usage_chunk(served)
    if last is not None:
        made.append(Frame(_data(last), spent=spent))
    return made if "no_done" in served.faults else [*made, Frame(_DONE, spent=spent)]


def _broken_end(served: Served, name: str) -> list[Frame]:
    if name == "mid_stream_error":
        return [Frame(_data(wire.error_chunk(served, wire.provider_error(served.model))))]
    if name == "mid_stream_error_text":
        error = wire.provider_error(served.model, "server_error")
        return [Frame(_data(wire.error_chunk(served, error))), Frame(_DONE)]
    if name == "length_as_error":
        error = {"code": 400, "message": "Max tokens exceeded", "metadata": {"error_type": "max_tokens_exceeded"}}
        return [Frame(_data(wire.error_chunk(served, error)))]
    return []


def _spelled(made: list[Frame], faults: frozenset[str]) -> Iterator[Frame]:
    """The frames in the line ends and pieces that the faults ask for."""
    for index, frame in enumerate(made):
        data = frame.data
        if "comments" in faults and index and not data.startswith(b":"):
            data = _COMMENT + data
        if "crlf" in faults:
            data = data.replace(b"\n", b"\r\n")
        frame = msgspec.structs.replace(frame, data=data)
        yield from _split(frame) if "split_utf8" in faults else (frame,)


def _split(frame: Frame) -> Iterator[Frame]:
    """Two writes: the cut is inside the first multi-byte character, else in the middle."""
    data = frame.data
    cut = next((at + 1 for at, byte in enumerate(data) if byte >= 0xC0), len(data) // 2)
    yield Frame(data[:cut], frame.pause, frame.spent, apart=True)
    yield Frame(data[cut:], 0.0, frame.spent, apart=True)


def joined(made: list[Frame]) -> list[Frame]:
    """Frames with no pause between them as one write each, as a busy connection would join them."""
    found: list[Frame] = []
    waiting: list[Frame] = []
    for frame in made:
        if waiting and (frame.pause or frame.apart or waiting[-1].apart):
            found.append(_merged(waiting))
            waiting = []
        waiting.append(frame)
    return [*found, _merged(waiting)] if waiting else found


def _merged(some: list[Frame]) -> Frame:
    if len(some) == 1:
        return some[0]
    return Frame(b"".join(frame.data for frame in some), some[0].pause, max(frame.spent for frame in some))
