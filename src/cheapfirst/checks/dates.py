"""Dates as texts write them: 2018-12-25, 25/12/2018, Dec 25, 2018, 25. Dezember 2018; 2018年12月25日."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from msgspec import Struct

from cheapfirst.checks.numerals import plain

_MONTHS = (
    "january ocak jan januar januari janvier janv enero ene gennaio gen janeiro stycznia styczen tammikuu leden ledna",
    "february subat feb februar februari fevrier fevr febrero febbraio febb fevereiro fev lutego luty helmikuu unor "
    "unora",
    "march mart mar marz maerz mrz maart mrt mars marzo marco marca marzec maaliskuu brezen brezna",
    "april nisan apr avril avr abril abr aprile kwietnia kwiecien huhtikuu duben dubna",
    "may mayis mai mei mayo maggio mag maio maja maj toukokuu kveten kvetna",
    "june haziran jun juni juin junio giugno giu junho czerwca czerwiec kesakuu cerven cervna",
    "july temmuz jul juli juillet juil julio luglio lug julho lipca lipiec heinakuu cervenec cervence",
    "august agustos aug augustus aout agosto ago sierpnia sierpien elokuu srpen srpna",
    "september eylul sep sept septembre septiembre set settembre setembro wrzesnia wrzesien syyskuu zari",
    "october ekim oct oktober okt octobre octubre ottobre ott outubro out pazdziernika pazdziernik lokakuu rijen rijna",
    "november kasim nov novembre noviembre novembro listopada listopad marraskuu listopadu",
    "december aralik dec dezember dez desember des decembre diciembre dic dicembre dezembro grudnia grudzien joulukuu "
    "prosinec prosince",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
"""Month names and abbreviations, without diacritics -> number."""

_NAME = "(" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"(?<!\d)(\d{1,2})(?!\d)(?:st|nd|rd|th|er|o|º|\.)?"
_YEAR = r"(\d{4}|['’]\d{2})(?!\d)"
_JOINT = r"(?:\s*(?:,|\bof\b|\bde\b|\bdel\b|\bdo\b|/|-)?\s*)"

_YMD = re.compile(r"(?<!\d)(\d{4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})(?!\d)")
_COMPACT = re.compile(r"(?<!\d)((?:19|20)\d{2})(\d{2})(\d{2})(?!\d)")
_ABY = re.compile(r"(?<!\d)(\d{1,2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?(\d{4}|\d{2})(?!\d)")
_DMY = re.compile(rf"{_DAY}{_JOINT}{_NAME}(?:{_JOINT}{_YEAR})?")
_MDY = re.compile(rf"\b{_NAME}\s*{_DAY}(?:\s*,?\s*{_YEAR})?")
_MY = re.compile(rf"\b{_NAME}{_JOINT}{_YEAR}")
_YM = re.compile(r"(?<![\d.,/-])(\d{4})[-/.年]\s?(\d{1,2})(?![\d.,/-])")
_M_Y = re.compile(r"(?<![\d.,/-])(\d{1,2})[-/.](\d{4})(?![\d.,/-])")
_AB = re.compile(r"(?<![\d.,/-])(\d{1,2})[/.月](\d{1,2})(?![\d,/-])")


class Dates(Struct, frozen=True):
    """What a text says about days, as far as it says it. An ambiguous date (03/04/2018) counts in both readings."""

    days: frozenset[tuple[int, int, int]]  # year, month, day
    yearless: frozenset[tuple[int, int]]  # month, day, where no year stands with them
    months: frozenset[tuple[int, int]]  # year, month, where no day stands with them


def dates(text: str) -> Dates:
    """Every date a text can be read to mention."""
    text = plain(text)
    days = {day for day in _days(text) if _real(*day)}
    yearless = {pair for pair in _yearless(text) if _real(2000, *pair)}
    months = {pair for pair in _year_months(text) if 1 <= pair[1] <= 12}
    return Dates(frozenset(days), frozenset(yearless), frozenset(months))


def whole_date(text: str) -> Dates | None:
    """The date that a text is, apart from a time of day behind it; None for any other text."""
    text = plain(text).strip()
    day = text.partition("t")[0] if re.match(r"\d{4}-\d{2}-\d{2}t", text) else text
    patterns = (_YMD, _COMPACT, _ABY, _DMY, _MDY, _MY, _YM, _M_Y)
    return dates(day) if any(pattern.fullmatch(day.rstrip("日 ")) for pattern in patterns) else None


def _days(text: str) -> Iterator[tuple[int, int, int]]:
    for year, month, day in (*_YMD.findall(text), *_COMPACT.findall(text)):
        yield int(year), int(month), int(day)
    for one, two, year in _ABY.findall(text):
        yield _century(year), int(two), int(one)
        yield _century(year), int(one), int(two)
    for day, month, year in _DMY.findall(text):
        if year:
            yield _century(year), MONTHS[month], int(day)
    for month, day, year in _MDY.findall(text):
        if year:
            yield _century(year), MONTHS[month], int(day)


def _yearless(text: str) -> Iterator[tuple[int, int]]:
    for day, month, year in _DMY.findall(text):
        if not year:
            yield MONTHS[month], int(day)
    for month, day, year in _MDY.findall(text):
        if not year:
            yield MONTHS[month], int(day)
    for one, two in _AB.findall(text):
        yield int(one), int(two)
        yield int(two), int(one)


def _year_months(text: str) -> Iterator[tuple[int, int]]:
    for month, year in _MY.findall(text):
        yield _century(year), MONTHS[month]
    for year, month in _YM.findall(text):
        yield int(year), int(month)
    for month, year in _M_Y.findall(text):
        yield int(year), int(month)


def _century(year: str) -> int:
    number = int(year.lstrip("'’"))
    return number if number > 99 else number + (2000 if number < 70 else 1900)


def _real(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
