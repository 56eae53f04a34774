"""Turns the spelling of a number into its value, exactly, or refuses it."""

from __future__ import annotations

import math
import re

from cheapfirst.checks.strings import Broken

JSON = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HEX = re.compile(r"[+-]?0[xX][0-9a-fA-F]+")
_GROUPED = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?")
_BARE_POINT = re.compile(r"([+-]?)([0-9]*)\.([0-9]*)((?:[eE][+-]?[0-9]+)?)")


def exact(spelled: str, position: int = 0) -> int | float:
    """The value of a JSON number. Raises Broken where a float cannot hold it (1e400, 1e-400) or it is absurdly long."""
    if not any(mark in spelled for mark in ".eE"):
        try:
            return int(spelled)
        except ValueError:  # Python's own limit on digits
            raise Broken("parse.number", "A number has more digits than can be read safely.", position) from None
    value = float(spelled)
    lost = math.isinf(value) or (value == 0 and any(digit in "123456789" for digit in re.split("[eE]", spelled)[0]))
    if lost:
        raise Broken("parse.number", "A number is outside the range of floating point.", position)
    return value


def loose(spelled: str, position: int) -> int | float:
    """The value of a number as Python or JavaScript write it: +5, .5, 5., 1_000, 0x1F. Raises Broken for any other."""
    if _HEX.fullmatch(spelled):
        return int(spelled, 16)
    if _GROUPED.fullmatch(spelled):
        spelled = spelled.replace("_", "")
    point = _BARE_POINT.fullmatch(spelled)
    if point and (point[2] or point[3]):
        spelled = f"{point[1]}{point[2] or '0'}.{point[3] or '0'}{point[4]}"
    spelled = spelled.removeprefix("+")
    if not JSON.fullmatch(spelled):
        raise Broken("parse.number", "This is not a number that can be read in one way.", position)
    return exact(spelled, position)
