"""Turns the items of a Responses request's `input` into chat messages. Pure."""

from __future__ import annotations

from typing import Any

from cheapfirst.gateway.faces.responses.details import unpack
from cheapfirst.gateway.faces.responses.wrong import not_stored, unsupported, wrong
from cheapfirst.messages import Wire

ROLES = ("user", "assistant", "system", "developer")


def messages(given: Any, instructions: Any) -> list[Wire]:
    """Return the chat messages. Raises Refused for items that cannot be said in chat completions."""
    made: list[Wire] = []
    if instructions is not None:
        if not isinstance(instructions, str):
            raise wrong("instructions", "instructions must be a text.")
        if instructions:
            made.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*made, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise wrong("input", "input must be a text or a list of items, with at least one item.")
    turns = _Turns(made)
    for number, item in enumerate(given):
        turns.add(item, f"input[{number}]")
    if not made:
        raise wrong("input", "input has no message.")
    return made


class _Turns:
    """Collects items: chat completions has one message where Responses has reasoning, a text, and several calls."""

    def __init__(self, made: list[Wire]) -> None:
        self._made = made
        self._details: list[Any] = []  # reasoning that belongs to the assistant's next words
        self._open = False  # whether the last message is the assistant's and may still grow

    def add(self, item: Any, at: str) -> None:
        if not isinstance(item, dict):
            raise wrong(at, "Each item of input is an object.")
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, at)
        elif kind == "function_call":
            self._call(item, at)
        elif kind == "function_call_output":
            self._output(item, at)
        elif kind == "reasoning":
            self._details += unpack(item.get("encrypted_content"))
        elif kind == "item_reference":
            raise not_stored(at)
        else:
            raise unsupported(
                at,
                f"Items of type {str(kind)[:60]!r} cannot be sent through the gateway; it takes message, "
                "function_call, function_call_output and reasoning.",
                code="unsupported_item",
            )

    def _message(self, item: Wire, at: str) -> None:
        role = item.get("role")
        if role not in ROLES:
            raise wrong(f"{at}.role", f"role must be one of {', '.join(ROLES)}.")
        content = _content(item.get("content"), f"{at}.content", plain=role == "assistant")
        if role != "assistant":
            self._put({"role": role, "content": content})
            return
        if self._open and self._made[-1].get("content") is None:
            self._made[-1]["content"] = content
        else:
            self._assistant({"role": "assistant", "content": content})
        self._attach()

    def _call(self, item: Wire, at: str) -> None:
        for name in ("call_id", "name", "arguments"):
            if not isinstance(item.get(name), str):
                raise wrong(f"{at}.{name}", f"A function_call needs a {name}, a text.")
        if not self._open:
            self._assistant({"role": "assistant", "content": None})
        self._made[-1].setdefault("tool_calls", []).append(
            {
                "id": item["call_id"],
                "type": "function",
                "function": {"name": item["name"], "arguments": item["arguments"]},
            }
        )
        self._attach()

    def _output(self, item: Wire, at: str) -> None:
        if not isinstance(item.get("call_id"), str):
            raise wrong(f"{at}.call_id", "A function_call_output needs a call_id, a text.")
        content = _content(item.get("output"), f"{at}.output", plain=False)
        self._put({"role": "tool", "tool_call_id": item["call_id"], "content": content})

    def _put(self, message: Wire) -> None:
        self._made.append(message)
        self._open, self._details = False, []

    def _assistant(self, message: Wire) -> None:
        self._made.append(message)
        self._open = True

    def _attach(self) -> None:
        if self._details:
            self._made[-1].setdefault("reasoning_details", []).extend(self._details)
            self._details = []


def _content(given: Any, at: str, *, plain: bool) -> Any:
    """Text or parts. `plain`: several texts become one, because few upstreams read an assistant's parts."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise wrong(at, "Content must be a text or a list of parts.")
    parts = [_part(part, f"{at}[{number}]") for number, part in enumerate(given)]
    if (plain or len(parts) == 1) and all(set(part) == {"type", "text"} for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Any, at: str) -> Wire:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise wrong(at, "Each part of a content is an object with a type.")
    kind = part["type"]
    if kind in ("input_text", "output_text", "text"):
        if not isinstance(part.get("text"), str):
            raise wrong(f"{at}.text", "A text part needs a text.")
        answered = ("annotations", "logprobs")  # what an answer's text brought along
        return {**{name: value for name, value in part.items() if name not in answered}, "type": "text"}
    if kind == "refusal":
        if not isinstance(part.get("refusal"), str):
            raise wrong(f"{at}.refusal", "A refusal part needs a refusal.")
        return {"type": "text", "text": part["refusal"]}
    if part.get("file_id") is not None:
        raise not_stored(f"{at}.file_id")
    if kind == "input_image":
        return _image(part, at)
    if kind == "input_file":
        return _file(part, at)
    return part  # a part of chat completions, or one that we do not know


def _image(part: Wire, at: str) -> Wire:
    url = part.get("image_url")
    if not isinstance(url, str):
        raise wrong(f"{at}.image_url", "An input_image needs an image_url, a text.")
    image = {"url": url} if part.get("detail") is None else {"url": url, "detail": part["detail"]}
    known = ("type", "image_url", "detail", "file_id")
    rest = {name: value for name, value in part.items() if name not in known}
    return {**rest, "type": "image_url", "image_url": image}


def _file(part: Wire, at: str) -> Wire:
    data = part.get("file_data") if part.get("file_data") is not None else part.get("file_url")
    if not isinstance(data, str):
        raise wrong(f"{at}.file_data", "An input_file needs file_data or a file_url, a text.")
    file = {"file_data": data} if part.get("filename") is None else {"filename": part["filename"], "file_data": data}
    known = ("type", "file_data", "file_url", "file_id", "filename", "detail")
    rest = {name: value for name, value in part.items() if name not in known}
    return {**rest, "type": "file", "file": file}
