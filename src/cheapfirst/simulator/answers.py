"""Makes up the simulator's answers: right ones for the premium model, right ones with mistakes for the cheap one."""

from __future__ import annotations

import random
from typing import Any

from cheapfirst.messages import Wire
from cheapfirst.simulator import answerer, asked, decorations, instance, mistakes, prose, slips
from cheapfirst.simulator import clues as read_clues
from cheapfirst.simulator.answerer import Skill
from cheapfirst.simulator.asked import Asked
from cheapfirst.simulator.mistakes import Rates

DEFAULT = Rates()


class Made(answerer.Made, frozen=True, kw_only=True):
    """An answer made up in code, with what is known about it here."""

    tool_calls: tuple[Wire, ...] | None = None  # as in a message; absent: an answer in words
    mistake: str | None = None  # one of `mistakes.MISTAKES`; absent: none was put in


def answer(skill: Skill, body: Wire, rng: random.Random, rates: Rates = DEFAULT) -> Made:
    """Answer a chat-completions request as a model of this skill would.

    Sample requests get their right answer; other texts one by simple code, valid under the schema asked for; free
    chat a reply that says it is simulated. The cheap skill then makes mistakes at these rates. The same arguments
    and random state give the same answer.
    """
    request = asked.read(body)
    if request.tools:
        return _called(skill, request, rng, rates)
    if request.form == "none":
        text = str(request.item.gold) if request.item is not None else prose.answer(request)
        right = _right(request, text)
    else:
        right = _right(request, "", _value(request, request.schema, rng), request.schema)
    return _told(skill, request, right, rng, rates)


def _right(request: Asked, text: str, value: Any = None, schema: Any = None) -> slips.Right:
    return slips.Right(
        source=request.text,
        value=value,
        schema=schema,
        text=text if schema is None else decorations.written(value),
        language=request.item.language if request.item is not None else "en",
        room=request.room,
    )


def _value(request: Asked, schema: Any, rng: random.Random) -> Any:
    return request.item.gold if request.item is not None else instance.build(schema, request.text, rng)


def _told(skill: Skill, request: Asked, right: slips.Right, rng: random.Random, rates: Rates) -> Made:
    """The right answer, or what this skill makes of it."""
    json = right.schema is not None
    if skill == "premium":
        if json and rng.random() < rates.premium:
            return _fenced(right, rng)
        return Made(text=right.text)
    due = rates.faults.get(_task(request, json), rates.faults.get("", {}))
    for name in mistakes.draw(due, rng, share=rates.again if request.again else None):
        slip = slips.FAULTS[name](right, rng)
        if slip is not None:
            return Made(
                text=slip.text, refusal=slip.refused, finish=slip.finish, reasoning=slip.reasoning, mistake=name
            )
    if json:
        even = dict.fromkeys(decorations.DECORATIONS, 1.0)
        for name in mistakes.draw(even, rng, share=rates.harmless.get(request.form, 0.0)):
            text = decorations.DECORATIONS[name](right.value, right.schema, rng)
            if text is not None:
                return Made(text=text, mistake=name)
    return Made(text=right.text)


def _fenced(right: slips.Right, rng: random.Random) -> Made:
    return Made(text=decorations.fenced(right.value, right.schema, rng) or right.text, mistake="fenced")


def _task(request: Asked, json: bool) -> str:
    """The sample request's task; of other texts a guess from what is asked for."""
    if request.item is not None:
        return request.item.task
    if not json:
        return "summarize" if prose.asks_summary(request) else "chat"
    properties = request.schema.get("properties") if isinstance(request.schema, dict) else None
    labels = [part for part in (properties or {}).values() if isinstance(part, dict) and part.get("enum")]
    return "classify" if labels and 2 * len(labels) >= len(properties or {}) else "extract"


def _called(skill: Skill, request: Asked, rng: random.Random, rates: Rates) -> Made:
    """A call of the function that shares most words with the text, its arguments filled from the text."""
    clues = read_clues.read(request.text)
    tool = max(
        request.tools, key=lambda each: read_clues.overlap(f"{each['name']} {each.get('description', '')}", clues)
    )
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    right = _right(request, "", instance.build(schema, request.text, rng), schema)
    made = _told(skill, request, right, rng, rates)
    if made.refusal or not made.text.strip() or made.finish != "stop":
        return made
    function = {"name": tool["name"], "arguments": made.text}
    call = {"id": f"call_{rng.getrandbits(96):024x}", "type": "function", "function": function}
    return Made(tool_calls=(call,), reasoning=made.reasoning, mistake=made.mistake)
