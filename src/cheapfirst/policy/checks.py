"""The checks a policy may name, with their options. What each one does lives in `cheapfirst.checks`.

In the table a check is its name (`"grounded"`) or a one-key table (`{ length = { max_words = 120 } }`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct


class Length(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the answer may be. Without `path` the whole answer's text (or top-level list) is measured."""

    min_chars: int | None = None
    max_chars: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    path: str | None = None  # dotted path inside the value, `*` for every item: "lines.*.text"


class Regex(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer (or the strings at `path`) must contain a match of `pattern`, or must not when `forbid`."""

    pattern: str
    forbid: bool = False
    path: str | None = None


class Enum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer (or what stands at `path`) must be one of `values`."""

    values: list[str | int | float | bool | None]
    path: str | None = None


class Required(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These dotted paths must be present and not null or blank."""

    fields: list[str]


class Refusal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model must not decline to answer."""


class Language(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer's language: an ISO 639-1 code, or "source" for the language of the source text."""

    expect: str = "source"


class Repetition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer must not end in a degenerate loop: one stretch repeated `max_repeats` times or more."""

    max_repeats: int = 8


class Grounded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every extracted string, number and date must occur in the source text, tolerant of formatting."""

    only: list[str] | None = None  # dotted paths to look at; absent: all
    exclude: list[str] = []  # dotted paths to leave out (free-text fields, labels)
    kinds: tuple[Literal["text", "number", "date"], ...] = ("text", "number", "date")  # of values to look at
    optional_only: bool = False  # only what the schema does not require: fields filled in unasked


class Covered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer must use what the source hands over: its figures, its quoted names, the tools it asks for."""

    figures: bool = True
    quotes: bool = True
    tools: bool = True  # only where tools are called


class Percent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A percentage of the source (7 %) must come as a fraction (0.07) where the schema does not speak of percent."""


class Unique(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No two tool calls, or items of the list at `path`, may be identical."""

    path: str | None = None  # dotted path of the list; absent: the tool calls, or the answer itself when it is a list


class Python(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own function, `package.module:function`; called as `function(value, context)`."""

    call: str


class Custom(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function registered by name: `Router(checks={"name": function})`."""

    name: str


Check: TypeAlias = (
    Length
    | Regex
    | Enum
    | Required
    | Refusal
    | Language
    | Repetition
    | Grounded
    | Covered
    | Percent
    | Unique
    | Python
    | Custom
)

CHECKS: dict[str, type[Check]] = {
    "length": Length,
    "regex": Regex,
    "enum": Enum,
    "required": Required,
    "refusal": Refusal,
    "language": Language,
    "repetition": Repetition,
    "grounded": Grounded,
    "covered": Covered,
    "percent": Percent,
    "unique": Unique,
    "python": Python,
}
"""Name in the table -> its options. `Custom` has no name of its own: it takes the registered ones."""


ALIGNMENTS: tuple[str, ...] = ("key", "number", "integer", "boolean", "list", "enum")
"""The changes of spelling that a route may allow between an answer and its schema (`align`); absent allows all."""


def name_of(check: Check) -> str:
    """The check's name as the table spells it."""
    if isinstance(check, Custom):
        return check.name
    if isinstance(check, Python):
        return f"python:{check.call}"
    return type(check).__name__.lower()
