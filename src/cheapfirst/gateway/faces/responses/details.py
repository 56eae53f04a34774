"""Carries a model's reasoning details through a client that keeps only the protocol's own fields. Pure.

Models that reason want their reasoning details back, signatures and all, when tools have run. They travel in
`encrypted_content`, the field that clients of this protocol send back unread.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

MARK = "cheapfirst:1:"
"""Begins what we packed; anything else in the field is another server's and is not for our upstream."""


def pack(details: list[Any]) -> str | None:
    """Return reasoning details as one text; None when there are none."""
    if not details:
        return None
    return MARK + base64.b64encode(msgspec.json.encode(details)).decode()


def unpack(text: object) -> list[Any]:
    """Return the reasoning details in a text; none when it is not one of ours."""
    if not isinstance(text, str) or not text.startswith(MARK):
        return []
    try:
        details = msgspec.json.decode(base64.b64decode(text[len(MARK) :], validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return []
    return details if isinstance(details, list) else []
