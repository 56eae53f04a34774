"""Which mistakes the simulated cheap model makes, how often, and what each one is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct, field

from cheapfirst.errors import SimulatorError, nearest
from cheapfirst.simulator.asked import Form

Kind: TypeAlias = Literal["harmless", "fault", "cut-off", "refusal"]

MISTAKES: dict[str, tuple[Kind, str]] = {
    "fenced": ("harmless", "The JSON stands in a Markdown fence."),
    "prose_around": ("harmless", "Sentences stand before and after the JSON."),
    "think_tags": ("harmless", "Thoughts in think tags stand before the JSON."),
    "trailing_comma": ("harmless", "A comma stands behind the last member."),
    "single_quotes": ("harmless", "Strings and keys are in single quotes."),
    "python_literals": ("harmless", "The value is written as Python: True, False, None, single quotes."),
    "comments": ("harmless", "A comment stands behind a line of the JSON."),
    "unquoted_keys": ("harmless", "The keys have no quotes."),
    "numbers_as_strings": ("harmless", "Numbers are written as strings."),
    "key_case": ("harmless", "The keys are in another case than the schema's."),
    "missing_field": ("fault", "A required field is missing."),
    "wrong_enum": ("fault", "A label is not one of those allowed."),
    "wrong_label": ("fault", "A label is allowed, but not the right one: no check in code can see it."),
    "invented_value": ("fault", "A number, date or name does not stand in the source."),
    "empty": ("fault", "The answer is empty."),
    "too_long": ("fault", "The answer is much longer than was asked."),
    "loop": ("fault", "The answer repeats its last sentence over and over."),
    "wrong_language": ("fault", "The answer is in another language than the text."),
    "refusal": ("refusal", "The model declines to answer."),
    "long_winded": ("cut-off", "The model writes so much before the answer that its room ends first."),
    "reasoning_eats_room": ("cut-off", "The model's reasoning takes all of its room."),
}
"""Name -> its kind and a sentence about it. `harmless` ones are read by a tolerant parser; the others are not right."""

_CLASSIFY = {
    "wrong_enum": 0.035, "wrong_label": 0.03, "missing_field": 0.02, "refusal": 0.015, "empty": 0.005,
    "reasoning_eats_room": 0.015,
}  # fmt: skip
_EXTRACT = {
    "invented_value": 0.035, "missing_field": 0.03, "wrong_enum": 0.01, "refusal": 0.01, "empty": 0.005,
    "long_winded": 0.01, "reasoning_eats_room": 0.01,
}  # fmt: skip
_SUMMARIZE = {
    "too_long": 0.035, "loop": 0.025, "refusal": 0.015, "empty": 0.005, "wrong_language": 0.005, "long_winded": 0.015,
}  # fmt: skip
_WORDS = {"loop": 0.02, "refusal": 0.02, "wrong_language": 0.01, "empty": 0.015, "long_winded": 0.02}


class Rates(Struct, frozen=True, kw_only=True):
    """How often the cheap model errs. Shares of answers, between 0 and 1. Raises SimulatorError for others."""

    harmless: Mapping[Form, float] = field(
        default_factory=lambda: {"json_schema": 0.08, "json_object": 0.2, "prompt": 0.35}
    )  # of JSON answers, by how the JSON was asked for
    faults: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {"classify": _CLASSIFY, "extract": _EXTRACT, "summarize": _SUMMARIZE, "": _WORDS}
    )  # task -> fault -> share of answers; "" stands for every other task
    again: float = 0.5  # faulty answers among those to a re-ask
    premium: float = 0.03  # harmless fences of the premium model, of its JSON answers

    def __post_init__(self) -> None:
        shares = [*self.harmless.values(), self.again, self.premium]
        for task, rates in self.faults.items():
            shares.append(sum(rates.values()))
            for name in rates:
                if MISTAKES.get(name, ("harmless",))[0] == "harmless":
                    raise SimulatorError(f"faults of task {task!r}: unknown fault {name!r}{nearest(name, MISTAKES)}")
        if any(not 0 <= share <= 1 + 1e-9 for share in shares):
            raise SimulatorError("rates are shares of answers: each, and the sum of a task's faults, lies in 0 to 1")


def draw(rates: Mapping[str, float], rng: random.Random, *, share: float | None = None) -> list[str]:
    """Names in the order to try them when a mistake is due, else none. `share` overrides how often one is due."""
    total = sum(rates.values())
    if rng.random() >= (total if share is None else share):
        return []
    # Weighted order without repeats (Efraimidis and Spirakis, 2006): the first that has a place is made.
    keyed = {name: rng.random() ** (1 / rate) for name, rate in rates.items() if rate > 0}
    return sorted(keyed, key=lambda name: -keyed[name])
