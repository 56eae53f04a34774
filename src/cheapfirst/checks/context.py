"""What a check may look at besides the value: the answer's text, the source it was made from, the schema."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from cheapfirst.messages import Shape, Wire


class Context(Struct, frozen=True, kw_only=True):
    """Everything a check sees apart from the value. A check is `(value, context)` -> findings, without I/O."""

    text: str = ""  # the answer's text, exactly as it came
    shape: Shape = "text"
    source: str | None = None  # the text the answer must rest on; absent: the request had none
    schema: Wire | None = None  # JSON Schema of the wanted value; absent for free text and for tool calls
    tools: list[Any] | None = None  # tools the request declared; absent: none
    called: bool = False  # the value is a list of tool calls: [{"name": ..., "arguments": {...}}]
    parsed: bool = True  # False: no value could be read, so `value` is None and only the text can be judged
    message: Wire = field(default_factory=dict)  # the answer's message as the wire had it
