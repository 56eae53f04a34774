"""What can be read off any text by simple code: its numbers, dates, addresses, names, labelled values, sentences."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from msgspec import Struct

_NUMBER = re.compile(r"(?<![\w.,-])-?\d{1,12}(?:[.,]\d{1,4})?(?![\w]|[.,]\d)")
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_NAMED = "|".join(f"{month}|{month[:3]}" for month in _MONTHS)
_MDY = re.compile(rf"\b({_NAMED})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", re.I)
_DMY = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)? ({_NAMED})\.?,? (\d{{4}})\b", re.I)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_URL = re.compile(r"https?://[^\s<>\"')]+[^\s<>\"').,;:!?]")
_LABELLED = re.compile(r"^[ \t*-]{0,8}([^\W\d_][\w /-]{0,40}?)[ \t]{0,4}[:=#][ \t]{0,4}(\S[^\n]{0,200})$", re.M)
_SAID = re.compile(r"([^\W\d_]\w*(?: [^\W\d_]\w*){0,2}):[ \t]{1,4}([^\s,;]+(?: [^\s,;.]+){0,3})")
_MONEY = re.compile(
    r"(?:[$€£¥₺]|\b(?:USD|EUR|GBP|CHF|TL|TRY|JPY|CNY|BRL))\s?(\d[\d.,]*\d|\d)|(\d[\d.,]*\d|\d)\s?"
    r"(?:[$€£¥₺元円]|(?:USD|EUR|GBP|CHF|TL|TRY|JPY|CNY|BRL|euros?|dollars?|pounds?)\b)"
)
_CENTS = re.compile(r"[.,](\d{1,2})$")
_NAME = re.compile(r"\b[A-ZÀ-ÖØ-Þ][\w'’-]{1,30}(?: [A-ZÀ-ÖØ-Þ][\w'’-]{1,30}){0,3}")
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？]{1,5}(?=\s|$)|[。！？]|\.(?=\S)[^.!?。！？\n]*)*")
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST = 200_000  # characters of a text that are looked at


class Clues(Struct, frozen=True):
    """What simple code finds in a text, each in the text's order."""

    text: str
    sentences: tuple[str, ...]
    numbers: tuple[float, ...]
    dates: tuple[str, ...]  # ISO
    emails: tuple[str, ...]
    urls: tuple[str, ...]
    amounts: tuple[float, ...]  # of money
    names: tuple[str, ...]  # words that begin with a capital, those of several words first
    labelled: tuple[tuple[frozenset[str], str], ...]  # words of the label, value
    words: frozenset[str]  # lower case


@lru_cache(maxsize=64)
def read(text: str) -> Clues:
    """Read a text. Linear in its length; of very long ones only the beginning."""
    text = text[:_LONGEST]
    return Clues(
        text=text,
        sentences=tuple(s for s in (found.strip() for found in _SENTENCE.findall(text)) if s),
        numbers=tuple(float(number.replace(",", ".")) for number in _NUMBER.findall(text)),
        dates=_dates(text),
        emails=tuple(_EMAIL.findall(text)),
        urls=tuple(_URL.findall(text)),
        amounts=tuple(_amount(before or behind) for before, behind in _MONEY.findall(text)),
        names=_names(text),
        labelled=tuple(
            (frozenset(words(label)), value.strip().rstrip(".;,"))
            for label, value in (*_LABELLED.findall(text), *_SAID.findall(text))
        ),
        words=frozenset(words(text)),
    )


def words(text: str) -> list[str]:
    """The words of a text or an identifier (`orderNumber`, `order_number`), in lower case."""
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def overlap(wanted: str, clues: Clues) -> int:
    """How many words of `wanted` stand in the text; words that begin alike for five letters count too."""
    stems = {word[:5] for word in clues.words if len(word) >= 5}
    return sum(2 if word in clues.words else word[:5] in stems for word in set(words(wanted)))


def _names(text: str) -> tuple[str, ...]:
    found = [
        (match[0], text[max(0, match.start() - 8) : match.start()].rstrip(" \t\"'(*-")[-1:])
        for match in _NAME.finditer(text)
    ]
    inner = [name for name, before in found if " " in name or before not in ("", ".", "!", "?", ":", "\n")]
    return tuple(sorted(dict.fromkeys(inner), key=lambda name: " " not in name))


def _amount(figure: str) -> float:
    cents = _CENTS.search(figure)
    whole = figure[: cents.start()] if cents else figure
    return float(re.sub(r"[.,]", "", whole) + (f".{cents[1]}" if cents else ""))


def _dates(text: str) -> tuple[str, ...]:
    found = [(m.start(), m[1], m[2], m[3]) for m in _ISO.finditer(text)]
    found += [(m.start(), m[3], _month(m[1]), m[2]) for m in _MDY.finditer(text)]
    found += [(m.start(), m[3], _month(m[2]), m[1]) for m in _DMY.finditer(text)]
    days = []
    for _, year, month, day in sorted(found):
        try:
            days.append(date(int(year), int(month), int(day)).isoformat())
        except ValueError:
            continue
    return tuple(days)


def _month(name: str) -> str:
    return str(next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name.lower())))
