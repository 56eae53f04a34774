"""Turns the content blocks of a Messages request into the messages and parts of chat completions. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from cheapfirst.gateway.faces.messages.erring import unsupported, wrong
from cheapfirst.gateway.faces.responses.details import MARK, unpack
from cheapfirst.messages import Wire

_SERVERS = ("server_tool_use", "mcp_tool_use", "mcp_tool_result", "container_upload", "search_result")
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def system(given: object) -> list[Wire]:
    """The system message, if there is one."""
    if given is None or given == "" or given == []:
        return []
    return [{"role": "system", "content": _content(given, "system")}]


def messages(given: object) -> list[Wire]:
    """All messages. Raises Refused."""
    if not isinstance(given, list) or not given:
        raise wrong("messages", "messages must be a list with at least one message.")
    made: list[Wire] = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role == "user":
            made += _user(message, where)
        elif role == "assistant":
            made.append(_assistant(message, where))
        elif role == "system":
            made.append({**message, "content": _content(message.get("content"), f"{where}.content")})
        else:
            raise wrong(where, "Each message is an object with the role user or assistant, and content.")
    return made


def _user(message: Wire, where: str) -> list[Wire]:
    """Tool results are messages of their own, in front of what the user says."""
    content = message.get("content")
    where = f"{where}.content"
    if not isinstance(content, list):
        return [{**message, "content": _content(content, where)}]
    results, parts = [], []
    for number, block in enumerate(content):
        place = f"{where}[{number}]"
        if isinstance(block, dict) and block.get("type") == "tool_result":
            results.append(_result(block, place))
        else:
            parts.append(_part(block, place))
    if parts or not results:
        results.append({**message, "content": _plain(parts)})
    return results


def _result(block: Wire, where: str) -> Wire:
    id = block.get("tool_use_id")
    if not isinstance(id, str) or not id:
        raise wrong(f"{where}.tool_use_id", "A tool_result names the tool_use that it answers in tool_use_id.")
    given = block.get("content")
    content = "" if given is None else _content(given, f"{where}.content")
    mark = block.get("cache_control")
    if block.get("is_error") is True:  # chat completions have no field for it, and the model must know
        content = f"Error: {content}" if isinstance(content, str) else [_text("Error:"), *content]
    if mark is not None:
        parts = [_text(content)] if isinstance(content, str) else content
        content = [*parts[:-1], {**parts[-1], "cache_control": mark}] if parts else content
    return {"role": "tool", "tool_call_id": id, "content": content}


def _assistant(message: Wire, where: str) -> Wire:
    content = message.get("content")
    where = f"{where}.content"
    if not isinstance(content, list):
        return {**message, "content": _content(content, where)}
    parts: list[Wire] = []
    calls: list[Wire] = []
    details: list[Any] = []
    for number, block in enumerate(content):
        place = f"{where}[{number}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use":
            calls.append(_call(block, place))
        elif kind in ("thinking", "redacted_thinking"):
            details += _details(block)
        else:
            parts.append(_part(block, place))
    made: Wire = {**message, "content": _plain(parts) if parts else None if calls else ""}
    if calls:
        made["tool_calls"] = calls
    if details:
        made["reasoning_details"] = details
    return made


def _call(block: Wire, where: str) -> Wire:
    id, name, input = block.get("id"), block.get("name"), block.get("input")
    if not isinstance(id, str) or not isinstance(name, str) or not isinstance(input, dict | None):
        raise wrong(where, "A tool_use has an id, a name and an input that is an object.")
    return {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": _ENCODER.encode(input or {}).decode()},
    }


def _details(block: Wire) -> list[Any]:
    """The reasoning that a thinking block carries: what we packed, or Anthropic's own."""
    if block.get("type") == "redacted_thinking":
        data = block.get("data")
        own = unpack(data)
        encrypted = {"type": "reasoning.encrypted", "data": data, "format": "anthropic-claude-v1"}
        return own or ([encrypted] if isinstance(data, str) and not data.startswith(MARK) else [])
    signature = block.get("signature")
    if isinstance(signature, str) and signature.startswith(MARK):
        return unpack(signature)
    said = block.get("thinking")
    if not isinstance(said, str) or not isinstance(signature, str) or not signature:
        return []
    return [{"type": "reasoning.text", "text": said, "signature": signature, "format": "anthropic-claude-v1"}]


def _content(given: object, where: str) -> Any:
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise wrong(where, f"{where} must be a text or a list of content blocks.")
    return _plain([_part(block, f"{where}[{number}]") for number, block in enumerate(given)])


def _plain(parts: list[Wire]) -> Any:
    """A single text as a text: every upstream takes that."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _part(block: Any, where: str) -> Wire:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise wrong(where, "Each content block is an object with a type.")
    if kind in _SERVERS or kind.endswith("_tool_result"):
        raise unsupported(where, f"Blocks of type {kind[:60]} belong to Anthropic's own servers; leave them out.")
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise wrong(f"{where}.text", "A text block has a text.")
        return {name: value for name, value in block.items() if name != "citations" and value is not None}
    if kind == "image":
        return {**_rest(block), "type": "image_url", "image_url": {"url": _url(block.get("source"), where)}}
    if kind == "document":
        return _document(block, where)
    if kind in ("tool_use", "tool_result", "thinking", "redacted_thinking"):
        raise wrong(where, f"A {kind} block cannot stand here.")
    return dict(block)


def _document(block: Wire, where: str) -> Wire:
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "text" and isinstance(source.get("data"), str):
        return {**_rest(block), "type": "text", "text": source["data"]}
    title = block.get("title")
    file = {"filename": title if isinstance(title, str) and title else "document.pdf", "file_data": _url(source, where)}
    return {**_rest(block), "type": "file", "file": file}


def _url(source: object, where: str) -> str:
    if isinstance(source, dict):
        kind, data, url, media = (source.get(name) for name in ("type", "data", "url", "media_type"))
        if kind == "base64" and isinstance(data, str) and isinstance(media, str):
            return f"data:{media};base64,{data}"
        if kind == "url" and isinstance(url, str):
            return url
        if kind == "file":
            raise unsupported(f"{where}.source", "The gateway stores no files: send the data, or a URL.")
    raise wrong(f"{where}.source", "A source is base64 with media_type and data, or url with a url.")


def _rest(block: Wire) -> Wire:
    return {"cache_control": block["cache_control"]} if block.get("cache_control") is not None else {}


def _text(said: str) -> Wire:
    return {"type": "text", "text": said}
