"""The real faults of cheap models, put into a right answer: a part missing, made up, endless, cut off or declined."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, TypeAlias

from msgspec import Struct

from cheapfirst.simulator import schemas, tokens
from cheapfirst.simulator.answerer import Finish
from cheapfirst.simulator.decorations import written

Path: TypeAlias = tuple[str | int, ...]

REFUSALS = {
    "en": "I'm sorry, but I can't help with that request.",
    "de": "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "fr": "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "es": "Lo siento, pero no puedo ayudar con esa solicitud.",
    "it": "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "pt": "Desculpe, mas não posso ajudar com esse pedido.",
    "nl": "Het spijt me, maar ik kan u hier niet mee helpen.",
    "tr": "I'm sorry, but I can't help with that request.",
    "ja": "申し訳ありませんが、そのご依頼にはお答えできません。",
    "zh": "很抱歉，我无法协助处理这个请求。",
}
_ELSEWHERE = {
    "en": "Der Text beschreibt die wichtigsten Punkte und nennt, was als Nächstes zu tun ist. Es wird eine Antwort "
    "erwartet, und die Einzelheiten sind im Original nachzulesen.",
    "": "The text describes the main points and says what is to be done next. An answer is expected, and the details "
    "can be read in the original.",
}
_OFF_LIST = ("other", "unknown", "general_inquiry", "unclear", "not_specified")
_INVENTED = ("Meridian Holdings Ltd", "Jonathan Pryce", "Northgate Supplies", "Elena Markovic", "Pinnacle Group")
_RAMBLE = (
    "Before giving the final answer, let me consider point {n} of the request, which may or may not change the result.",
    "Looking at part {n} again, several readings are possible, and each of them deserves a closer look.",
    "To be thorough, aspect {n} should also be weighed against what was said before.",
)
_THOUGHT = "(simulated reasoning) Step {n}: reading the request once more, comparing the fields, checking the form. "
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})\Z")
_MOST_ROOM = 20_000  # tokens; a larger room is not filled, the maker stops in the middle instead


class Right(Struct, frozen=True, kw_only=True):
    """A right answer that is about to be spoiled."""

    source: str  # the text it answers
    value: Any = None  # where there is a schema
    schema: Any = None  # absent: free text
    text: str  # as it would be sent
    language: str = "en"
    room: int | None = None  # tokens


class Slip(Struct, frozen=True, kw_only=True):
    """What is sent instead."""

    text: str
    refused: bool = False
    finish: Finish = "stop"
    reasoning: str = ""


Fault: TypeAlias = Callable[[Right, random.Random], "Slip | None"]
"""A right answer and chance -> what is sent instead; None where this answer offers no place for it."""


def missing_field(right: Right, rng: random.Random) -> Slip | None:
    whole = schemas.plain(right.schema, right.schema) or {}
    names = [name for name in whole.get("required") or () if isinstance(right.value, dict) and name in right.value]
    if right.schema is None or not names:
        return None
    dropped = rng.choice(names)
    return _json({key: entry for key, entry in right.value.items() if key != dropped})


def wrong_enum(right: Right, rng: random.Random) -> Slip | None:
    places = [(path, part) for path, part in _places(right) if part.get("enum") and isinstance(part["enum"][0], str)]
    if not places:
        return None
    path, part = rng.choice(places)
    spare = [label for label in _OFF_LIST if label not in {str(entry).lower() for entry in part["enum"]}]
    return _json(_put(right.value, path, rng.choice(spare))) if spare else None


def wrong_label(right: Right, rng: random.Random) -> Slip | None:
    places = [(path, part) for path, part in _places(right) if len(part.get("enum") or ()) > 1]
    if not places:
        return None
    path, part = rng.choice(places)
    return _json(_put(right.value, path, rng.choice([one for one in part["enum"] if one != _get(right.value, path)])))


def invented_value(right: Right, rng: random.Random) -> Slip | None:
    places = [path for path, part in _places(right) if not part.get("enum") and "const" not in part]
    rng.shuffle(places)
    for path in places:
        made = _invented(_get(right.value, path), rng)
        changed = _put(right.value, path, made)
        fits = made is not None and str(made) not in right.source and schemas.valid(changed, right.schema)
        if fits:
            return _json(changed)
    return None


def empty(right: Right, rng: random.Random) -> Slip | None:
    return Slip(text=rng.choice(("", "", "\n")))


def refusal(right: Right, rng: random.Random) -> Slip | None:
    return Slip(text=REFUSALS.get(right.language, REFUSALS["en"]), refused=True)


def too_long(right: Right, rng: random.Random) -> Slip | None:
    if right.schema is not None:
        return None
    asides = [_RAMBLE[n % 3].format(n=n + 1) for n in range(9)]
    return Slip(text="\n\n".join([right.text, " ".join(right.source.split()), *asides]))


def loop(right: Right, rng: random.Random) -> Slip | None:
    sentences = [part for part in re.split(r"(?<=[.!?。！？])\s*", right.text) if len(part) >= 8]
    if right.schema is not None or not sentences:
        return None
    return Slip(text=f"{right.text} " + f"{sentences[-1]} " * rng.randrange(12, 24))


def wrong_language(right: Right, rng: random.Random) -> Slip | None:
    return None if right.schema is not None else Slip(text=_ELSEWHERE["en" if right.language == "en" else ""])


def long_winded(right: Right, rng: random.Random) -> Slip | None:
    if right.room is None or right.room > _MOST_ROOM:
        part = tokens.pieces(right.text)
        return Slip(text="".join(part[: max(1, len(part) * 2 // 3)]), finish="length")
    return Slip(text=_filling(" ".join(_RAMBLE) + " ", right.room) + right.text)


def reasoning_eats_room(right: Right, rng: random.Random) -> Slip | None:
    if right.room is None or right.room > _MOST_ROOM:
        return None
    return Slip(text=right.text, reasoning=_filling(_THOUGHT, right.room))


def _json(value: Any) -> Slip:
    return Slip(text=written(value))


def _filling(pattern: str, room: int) -> str:
    """More than `room` tokens of text that does not repeat itself word for word."""
    count = room // tokens.count(pattern.format(n=1)) + 2
    return "".join(pattern.format(n=n) for n in range(1, count + 1))


def _invented(leaf: Any, rng: random.Random) -> Any:
    """Something else of the same kind; None where nothing would show."""
    if isinstance(leaf, bool) or leaf is None or leaf == "":
        return None
    if isinstance(leaf, int | float):
        return leaf + rng.randrange(1, 9) * 10 ** max(0, len(str(int(abs(leaf)))) - 2) + 1
    date = _DATE.match(leaf)
    if date:
        return f"{int(date[1]) - 1}-{int(date[2]) % 12 + 1:02}-{int(date[3]) % 27 + 1:02}"
    if any(character.isdigit() for character in leaf):
        return re.sub(r"\d", lambda found: str((int(found[0]) + rng.randrange(1, 9)) % 10), leaf)
    return rng.choice(_INVENTED)


def _places(right: Right) -> list[tuple[Path, dict[str, Any]]]:
    """Where single values stand, each with its own schema."""
    return list(_walk(right.value, right.schema, right.schema, ())) if isinstance(right.schema, dict) else []


def _walk(value: Any, schema: Any, root: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    whole = schemas.plain(schema, root)
    if whole is None or len(path) > 8:
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _walk(entry, (whole.get("properties") or {}).get(key, {}), root, (*path, key))
    elif isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _walk(entry, whole.get("items", {}), root, (*path, at))
    elif path:
        yield path, whole


def _get(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _put(value: Any, path: Path, entry: Any) -> Any:
    changed = deepcopy(value)
    _get(changed, path[:-1])[path[-1]] = entry
    return changed


FAULTS: dict[str, Fault] = {
    "missing_field": missing_field,
    "wrong_enum": wrong_enum,
    "wrong_label": wrong_label,
    "invented_value": invented_value,
    "empty": empty,
    "refusal": refusal,
    "too_long": too_long,
    "loop": loop,
    "wrong_language": wrong_language,
    "long_winded": long_winded,
    "reasoning_eats_room": reasoning_eats_room,
}
"""Every real fault by name."""
