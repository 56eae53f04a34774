"""The output items of a streamed response while they grow, and the events that tell of it. Pure.

An event is a type and its fields; who says it adds the number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from cheapfirst.gateway.faces.responses import parts
from cheapfirst.messages import Wire
from cheapfirst.upstream.assemble import Assembly

Say: TypeAlias = Callable[..., None]
"""Takes an event's type and its fields."""


class Item:
    """One output item. `whole` is what it has grown to."""

    kind = ""

    def __init__(self, say: Say, request_id: str, index: int) -> None:
        self.id = parts.item_id(self.kind, request_id, index)
        self.index = index
        self._say = say

    def open(self) -> None:
        self._say("response.output_item.added", output_index=self.index, item=self.whole("in_progress"))

    def close(self, status: str = "completed") -> None:
        self._end()
        self._say("response.output_item.done", output_index=self.index, item=self.whole(status))

    def whole(self, status: str = "completed") -> Wire:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _tell(self, kind: str, **fields: Any) -> None:
        self._say(kind, item_id=self.id, output_index=self.index, **fields)


class Reasoning(Item):
    """What the model thinks, told as a summary: clients show that."""

    kind = "rs"

    def __init__(self, say: Say, request_id: str, index: int) -> None:
        super().__init__(say, request_id, index)
        self._texts: list[str] = []
        self._details = Assembly()

    def grow(self, said: str, details: list[Any]) -> None:
        if details:
            self._details.add({"choices": [{"delta": {"reasoning_details": details}}]})
        if not said:
            return
        if not self._texts:
            self._tell("response.reasoning_summary_part.added", summary_index=0, part=_summary(""))
        self._texts.append(said)
        self._tell("response.reasoning_summary_text.delta", summary_index=0, delta=said)

    def whole(self, status: str = "completed") -> Wire:
        message = parts.first(self._details.body()["choices"]).get("message") or {}
        details = message.get("reasoning_details") or []
        return parts.reasoning_item(self.id, "".join(self._texts), details, status=status)

    def _end(self) -> None:
        if self._texts:
            said = "".join(self._texts)
            self._tell("response.reasoning_summary_text.done", summary_index=0, text=said)
            self._tell("response.reasoning_summary_part.done", summary_index=0, part=_summary(said))


class Message(Item):
    """What the model says or refuses to."""

    kind = "msg"

    def __init__(self, say: Say, request_id: str, index: int) -> None:
        super().__init__(say, request_id, index)
        self._content: list[Wire] = []
        self._texts: list[str] = []  # of the part that is open, the last one
        self._rest: Wire = {}

    def grow(self, said: str, odds: list[Any]) -> None:
        number = self._part("output_text")
        self._texts.append(said)
        self._content[number]["logprobs"] += odds
        self._tell("response.output_text.delta", content_index=number, delta=said, logprobs=odds)

    def refuse(self, said: str) -> None:
        number = self._part("refusal")
        self._texts.append(said)
        self._tell("response.refusal.delta", content_index=number, delta=said)

    def cite(self, cited: list[Wire]) -> None:
        number = self._part("output_text")
        known = self._content[number]["annotations"]
        for one in cited:
            self._tell(
                "response.output_text.annotation.added",
                content_index=number,
                annotation_index=len(known),
                annotation=one,
            )
            known.append(one)

    def keep(self, rest: Wire) -> None:
        """Take fields that the protocol has no word for: lists extend, of anything else the last word counts."""
        for name, value in rest.items():
            old = self._rest.get(name)
            self._rest[name] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value

    def whole(self, status: str = "completed") -> Wire:
        self._join()
        content = [dict(part) for part in self._content]
        return {**self._rest, **parts.message_item(self.id, content, status=status)}

    def _part(self, kind: str) -> int:
        """The number of the open part, which is of this kind."""
        if not self._content or self._content[-1]["type"] != kind:
            self._end()
            self._content.append(parts.text_part("", [], []) if kind == "output_text" else parts.refusal_part(""))
            self._tell("response.content_part.added", content_index=len(self._content) - 1, part=self._content[-1])
        return len(self._content) - 1

    def _join(self) -> None:
        if self._texts:
            name = "text" if self._content[-1]["type"] == "output_text" else "refusal"
            self._content[-1][name] += "".join(self._texts)
            self._texts = []

    def _end(self) -> None:
        if not self._content:
            return
        self._join()
        part, number = self._content[-1], len(self._content) - 1
        if part["type"] == "output_text":
            self._tell("response.output_text.done", content_index=number, text=part["text"], logprobs=part["logprobs"])
        else:
            self._tell("response.refusal.done", content_index=number, refusal=part["refusal"])
        self._tell("response.content_part.done", content_index=number, part=part)


class Call(Item):
    """A function that the model calls."""

    kind = "fc"

    def __init__(self, say: Say, request_id: str, index: int, call: Wire) -> None:
        super().__init__(say, request_id, index)
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        self._own, self._name = call.get("id"), name
        self._texts: list[str] = []

    def grow(self, call: Wire) -> None:
        said = parts.arguments(call.get("function"))
        if said:
            self._texts.append(said)
            self._tell("response.function_call_arguments.delta", delta=said)

    def whole(self, status: str = "completed") -> Wire:
        function = {"name": self._name, "arguments": "".join(self._texts)}
        return parts.call_item(self.id, {"id": self._own, "function": function}, status=status)

    def _end(self) -> None:
        self._tell("response.function_call_arguments.done", arguments="".join(self._texts))


class Calls:
    """Tells apart the calls that an upstream streams: by their index, or where it numbers nothing by their ids."""

    def __init__(self) -> None:
        self._by_index: dict[int, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(self._by_index.values())

    def place(self, call: Wire) -> tuple[int, Call | None]:
        """The index of a call's piece, and the call that it continues."""
        index = call.get("index")
        if not isinstance(index, int):
            last = max(self._by_index, default=-1)
            index = last + 1 if call.get("id") or last < 0 else last
        return index, self._by_index.get(index)

    def put(self, index: int, call: Call) -> None:
        self._by_index[index] = call


def _summary(said: str) -> Wire:
    return {"type": "summary_text", "text": said}
