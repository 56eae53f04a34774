"""Puts the chunks of a streamed answer together into the body that an unstreamed call would have brought."""

from __future__ import annotations

from typing import Any

import msgspec

from cheapfirst.messages import Wire

_ENDS = ("finish_reason", "native_finish_reason", "logprobs")
_ORDINARY = frozenset({"index", "delta", *_ENDS})
_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")


class Assembly:
    """Collects chunks; `body()` is the answer so far. Unknown fields of deltas, choices and chunks are kept."""

    def __init__(self) -> None:
        self._top: Wire = {}
        self._choices: dict[int, _Choice] = {}
        self.chunks = 0

    def add(self, chunk: Wire) -> None:
        """Take one chunk."""
        self.chunks += 1
        if "usage" not in chunk and None not in chunk.values():
            self._top.update(chunk)  # `choices` too, which `body` writes anew
        else:
            self._top |= {key: value for key, value in chunk.items() if key != "usage" and value is not None}
            if isinstance(usage := chunk.get("usage"), dict) and usage:
                self._top["usage"] = usage
        choices = chunk.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                index = choice.get("index")
                number = index if isinstance(index, int) else place
                self._choices.setdefault(number, _Choice()).add(choice)

    @property
    def finished(self) -> bool:
        """Whether the judged choice has its finish reason, other than `error`."""
        if 0 not in self._choices:
            return False
        fields = self._choices[0].fields
        return (fields.get("finish_reason") or fields.get("native_finish_reason")) not in (None, "error")

    def body(self) -> Wire:
        """The answer so far, as a chat.completion object."""
        choices = [{"index": index, **choice.whole()} for index, choice in sorted(self._choices.items())]
        return {**self._top, "object": "chat.completion", "choices": choices}


def has_token(chunk: Wire) -> bool:
    """Whether a chunk carries text, reasoning, a refusal or a tool call, or ends a choice."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return False
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role"):
            return True
    return False


class _Choice:
    """One choice: texts grow, lists extend, tool calls grow by index, of anything else the last word counts."""

    def __init__(self) -> None:
        self.fields: Wire = {}
        self._message: Wire = {}
        self._texts: dict[str, list[str]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._calls: dict[int, _ToolCall] = {}

    def add(self, choice: Wire) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict) and choice.keys() <= _ORDINARY and not any(map(choice.get, _ENDS)):
            self._add_delta(delta)
            return
        for key, value in choice.items():
            if key in ("finish_reason", "native_finish_reason"):
                self._finish(key, value)
            elif key == "logprobs":
                self._add_logprobs(value)
            elif key in ("delta", "message"):
                if isinstance(value, dict):
                    self._add_delta(value)
            elif key != "index" and value is not None:
                self.fields[key] = value

    def whole(self) -> Wire:
        message = {"role": "assistant", "content": None, **self._message}
        message |= {key: "".join(parts) for key, parts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [call.whole() for _, call in sorted(self._calls.items())]
        made: Wire = {"finish_reason": None, "native_finish_reason": None, **self.fields, "message": message}
        if self._logprobs:
            made["logprobs"] = self._logprobs
        return made

    def _finish(self, key: str, value: Any) -> None:
        # The usage chunk may repeat the finish, and an error chunk may follow it: the first word stands.
        if value is not None and self.fields.get(key) is None:
            self.fields[key] = value

    def _add_logprobs(self, value: Any) -> None:
        for key, items in value.items() if isinstance(value, dict) else ():
            if isinstance(items, list):
                self._logprobs.setdefault(key, []).extend(items)

    def _add_delta(self, delta: Wire) -> None:
        for key, value in delta.items():
            if value is None:
                continue
            if key in _TEXTS and isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
            elif key == "tool_calls" and isinstance(value, list):
                self._add_calls(value)
            elif key == "reasoning_details" and isinstance(value, list):
                details = self._message.setdefault(key, [])
                for detail in value:
                    _add_detail(details, detail)
            elif isinstance(value, list) and isinstance(self._message.get(key), list):
                self._message[key] = [*self._message[key], *value]
            else:
                self._message[key] = value

    def _add_calls(self, calls: list[Any]) -> None:
        for call in calls:
            if not isinstance(call, dict):
                continue
            index = call.get("index")
            if not isinstance(index, int):
                # Servers that number nothing send either whole calls, each with its id, or more of the last one.
                last = max(self._calls, default=-1)
                index = last + 1 if call.get("id") or last < 0 else last
            self._calls.setdefault(index, _ToolCall()).add(call)


class _ToolCall:
    def __init__(self) -> None:
        self._fields: Wire = {}
        self._function: Wire = {}
        self._arguments: list[str] = []

    def add(self, call: Wire) -> None:
        for key, value in call.items():
            if key == "function" and isinstance(value, dict):
                self._add_function(value)
            elif key != "index" and value is not None and not (key in ("id", "type") and self._fields.get(key)):
                self._fields[key] = value

    def whole(self) -> Wire:
        return {
            "type": "function",
            **self._fields,
            "function": {**self._function, "arguments": "".join(self._arguments)},
        }

    def _add_function(self, function: Wire) -> None:
        for key, value in function.items():
            if key == "arguments":
                if isinstance(value, str):
                    self._arguments.append(value)
                elif value is not None:
                    self._arguments.append(msgspec.json.encode(value).decode())
            elif value is not None and not (key == "name" and self._function.get("name")):
                self._function[key] = value


def _add_detail(details: list[Any], detail: Any) -> None:
    """Join a fragment of reasoning to the one it continues; an encrypted block is always one of its own."""
    if not isinstance(detail, dict):
        details.append(detail)
        return
    last = details[-1] if details and isinstance(details[-1], dict) else None
    kind = detail.get("type")
    part = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(kind) if isinstance(kind, str) else None
    if part is None or last is None or last.get("type") != kind or last.get("index") != detail.get("index"):
        details.append(dict(detail))
        return
    for key, value in detail.items():
        if key == part and isinstance(value, str):
            last[key] = (last.get(key) or "") + value
        elif value is not None:
            last[key] = value
