"""Numbers as texts write them: 1.234,56 and 1,234.56, 5 %, 3.5 million, two, twenty-five, fünfzig, 1/2."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, DivisionByZero, InvalidOperation

_EN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_UNITS = {
    "en": _EN,
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
    "diecisiete dieciocho diecinueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici "
    "diciassette diciotto diciannove",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezesseis dezessete "
    "dezoito dezenove",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien "
    "zeventien achttien negentien",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "it": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    "nl": "twintig dertig veertig vijftig zestig zeventig tachtig negentig",
}
_OTHERS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "once": 1, "twice": 2, "thrice": 3, "single": 1, "double": 2,
    "triple": 3, "pair": 2, "couple": 2, "dozen": 12, "a": 1, "an": 1, "ein": 1, "eine": 1, "einen": 1, "einer": 1,
    "une": 1, "una": 1, "uma": 1, "zwo": 2, "no": 0, "none": 0,
}  # fmt: skip
_FRACTIONS = {
    "half": "0.5", "halves": "0.5", "quarter": "0.25", "quarters": "0.25", "halb": "0.5", "halbe": "0.5",
    "viertel": "0.25", "demi": "0.5", "demie": "0.5", "medio": "0.5", "media": "0.5", "mezzo": "0.5", "meio": "0.5",
}  # fmt: skip
_SCALES = {
    "hundred": 100, "hundert": 100, "cent": 100, "cien": 100, "ciento": 100, "cento": 100, "honderd": 100,
    "thousand": 1000, "tausend": 1000, "mille": 1000, "mil": 1000, "duizend": 1000, "k": 1000, "tsd": 1000,
    "million": 10**6, "millions": 10**6, "millionen": 10**6, "millones": 10**6, "millon": 10**6, "milioni": 10**6,
    "milione": 10**6, "milhoes": 10**6, "milhao": 10**6, "miljoen": 10**6, "mio": 10**6, "mn": 10**6, "m": 10**6,
    "billion": 10**9, "billions": 10**9, "bn": 10**9, "b": 10**9, "milliarde": 10**9, "milliarden": 10**9,
    "milliard": 10**9, "milliards": 10**9, "miljard": 10**9, "mrd": 10**9, "trillion": 10**12, "dozen": 12,
    "lakh": 10**5, "crore": 10**7, "千": 1000, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8,
}  # fmt: skip

_FIGURE = re.compile(r"\d{1,3}(?: \d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,'’_]\d+)*")
"""A run of figures. A space joins only thousands: a line's end, or `18,36 2`, stands between two numbers."""
_SPLIT = re.compile(r"[.,'’_\s]")
_FRACTION = re.compile(r"(?:(\d+)\s+)?(\d+)\s?[/⁄]\s?(\d+)")
_AFTER = re.compile(r"\s?(%|percent\b|per cent\b|prozent\b|pour cent\b|por ciento\b|per cento\b|[^\W\d_]+\b)?")
_WORDS = re.compile(r"[^\W\d_]+")


def plain(text: str) -> str:
    """Text with compatibility forms, case and diacritics taken away; every comparison of numbers and dates uses it."""
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).replace("−", "-")


def _table() -> dict[str, int]:
    table: dict[str, int] = dict(_OTHERS)
    for code, written in _UNITS.items():
        units = [plain(word) for word in written.split()]
        table.update({word: number for number, word in enumerate(units)})
        for step, word in enumerate(plain(_TENS[code]).split()):
            ten = 20 + 10 * step
            table[word] = ten
            if code == "de":
                ones = {**dict(enumerate(units[1:10], 1)), 1: "ein"}
                table.update({f"{one}und{word}": ten + number for number, one in ones.items()})
            if code == "nl":
                table.update({f"{one}en{word}": ten + number for number, one in enumerate(units[1:10], 1)})
    return table


_WRITTEN = _table()


def numbers(text: str) -> frozenset[Decimal]:
    """Every number a text can be read to mention; an ambiguous one (`1,234`) counts in each of its readings."""
    text = plain(text)
    return frozenset(number for found in (_figures(text), _fractions(text), _spelled(text)) for number in found)


def figure(text: str) -> frozenset[Decimal]:
    """The readings of a text that is nothing but one number in figures; empty for any other text."""
    text = plain(text).strip()
    return frozenset(_readings(text, lists=False)) if _FIGURE.fullmatch(text) else frozenset()


def _figures(text: str) -> Iterator[Decimal]:
    for match in _FIGURE.finditer(text):
        readings = set(_readings(match[0]))
        before = text[match.start() - 1 : match.start()]
        if before in ("-", "("):
            readings |= {-reading for reading in readings}
        if before == "." and not text[max(0, match.start() - 2) : match.start() - 1].isdigit():
            readings |= {Decimal(f"0.{match[0]}")} if match[0].isdigit() else set()
        yield from readings
        after = (_AFTER.match(text, match.end()) or [None, None])[1]
        if after is None:
            continue
        if after in ("%", "percent", "per cent", "prozent", "pour cent", "por ciento", "per cento"):
            yield from (reading / 100 for reading in readings)
        elif after in _SCALES:
            yield from (reading * _SCALES[after] for reading in readings)


def _readings(figure: str, *, lists: bool = True) -> Iterator[Decimal]:
    """The numbers a run of figures can mean; with `lists` also each of several numbers that only stand together."""
    groups = _SPLIT.split(figure)
    marks = [mark for mark in figure if not mark.isdigit()]
    if not marks:
        yield Decimal(figure)
        return
    thousands = len(set(marks)) == 1 and _grouped(groups)
    if thousands:
        yield Decimal("".join(groups))
    decimal = marks[-1] in ".," and (len(groups) == 2 or (_grouped(groups[:-1]) and marks[-1] not in marks[:-1]))
    if decimal:
        yield Decimal("".join(groups[:-1]) + "." + groups[-1])
    if lists and " " in marks:  # 2 100 may be two thousand one hundred, or two and a hundred
        for part in figure.split(" "):
            yield from _readings(part)
    elif lists and (marks == [","] or not decimal) and not thousands:
        yield from (Decimal(group) for group in groups)


def _grouped(groups: list[str]) -> bool:
    """Whether groups of digits look like thousands (1 234 567) or lakhs (12 34 567)."""
    first, *rest = groups
    return (
        bool(rest)
        and 1 <= len(first) <= 3
        and len(rest[-1]) == 3
        and all(len(group) == len(rest[0]) and len(group) in (2, 3) for group in rest[:-1])
    )


def _fractions(text: str) -> Iterator[Decimal]:
    for whole, above, below in _FRACTION.findall(text):
        try:
            part = Decimal(above) / Decimal(below)
        except (DivisionByZero, InvalidOperation):
            continue
        yield part
        if whole:
            yield int(whole) + part


def _spelled(text: str) -> Iterator[Decimal]:
    """Numbers in words: each word alone, and runs like `one hundred and twenty-five thousand` as a whole."""
    whole = part = 0
    running = False
    for word in _WORDS.findall(text):
        number = _WRITTEN.get(word)
        if word in _FRACTIONS:
            yield Decimal(_FRACTIONS[word])
            if running:
                yield whole + part + Decimal(_FRACTIONS[word])
        if running and word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                part = max(part, 1) * 100
            else:
                whole, part = whole + max(part, 1) * scale, 0
            yield Decimal(whole + part)
        elif number is not None:
            yield Decimal(number)
            fits = running and (
                (part % 100 == 0 and number < 100) or (part % 10 == 0 and part % 100 >= 20 and number < 10)
            )
            whole, part = (whole, part + number) if fits else (0, number)
            running = True
            yield Decimal(whole + part)
        elif not (running and word in ("and", "und", "y", "e", "et", "en")):
            whole = part = 0
            running = False
    for letter in text:
        if not letter.isascii() and not letter.isdigit() and letter.isnumeric():
            yield Decimal(repr(unicodedata.numeric(letter)))
