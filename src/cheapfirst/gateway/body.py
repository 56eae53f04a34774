"""Reads a request's body within bounds: its size, the time it takes, how deep it nests, and whether it means one thing.

JSON that readers may understand differently (a name twice in one object, NaN) is refused: what the checks saw must
be what the model is sent.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from cheapfirst.gateway.asgi import Receive
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Wire
from cheapfirst.policy.table import GatewayOptions

DEEPEST = 100
"""Values inside each other."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class Left(Exception):
    """The client closed its connection."""


async def read(headers: Mapping[bytes, bytes], receive: Receive, options: GatewayOptions) -> bytes:
    """Return the whole body, unpacked. Raises Refused for one that is too big, too slow or packed in a way we do not
    know, and Left when the client is gone."""
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > options.max_body:
        raise _too_big(options.max_body)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body = message.get("body", b"")
        if len(body) > options.max_body:
            raise _too_big(options.max_body)
    else:
        body = await _rest(message, receive, options)
    packing = headers.get(b"content-encoding", b"identity").strip().lower()
    return body if packing == b"identity" else _unpacked(body, packing, options.max_body)


async def _rest(message: Mapping[str, Any], receive: Receive, options: GatewayOptions) -> bytes:
    import asyncio

    pieces, size = [], 0
    try:
        async with asyncio.timeout(options.body_wait):
            while True:
                if message["type"] == "http.disconnect":
                    raise Left
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > options.max_body:
                    raise _too_big(options.max_body)
                if not message.get("more_body"):
                    return b"".join(pieces)
                message = await receive()
    except TimeoutError:
        raise Refused(
            Problem(
                status=408,
                code="body_too_slow",
                message=f"The request's body did not arrive within {options.body_wait:g} seconds; send it again.",
            )
        ) from None


def _unpacked(body: bytes, packing: bytes, most: int) -> bytes:
    if packing not in (b"gzip", b"x-gzip", b"deflate"):
        raise Refused(
            Problem(
                status=415,
                code="unsupported_encoding",
                message="The body's Content-Encoding is not one of gzip, deflate, identity; send it as one of these.",
            )
        )
    unpacker = zlib.decompressobj(wbits=47 if packing != b"deflate" else 15)
    try:
        unpacked = unpacker.decompress(body, most + 1)
    except zlib.error:
        raise _malformed("The body is not what its Content-Encoding says.") from None
    if len(unpacked) > most:  # never unpacked further: a small body may hold a huge one
        raise _too_big(most)
    if not unpacker.eof:
        raise _malformed("The packed body ends too early.")
    return unpacked


def decode(body: bytes) -> Wire:
    """Return the JSON object. Raises Refused for anything else, and for an object that says one thing twice."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(f"The body is not JSON: {error}. Send one JSON object in UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise _malformed("The body must be one JSON object.")
    if _colons(body) != _names(value):
        raise _malformed("An object in the body has the same name twice; say each thing once.", code="duplicate_name")
    return value


def _colons(body: bytes) -> int:
    """How many colons stand outside of strings: one for each name that was sent."""
    if b"\\" in body:
        return _STRING.sub(b"", body).count(b":")
    return b"".join(body.split(b'"')[::2]).count(b":")


def _names(value: Any) -> int:
    """How many names stand in all the objects. Raises Refused when they nest too deep."""
    count, depth, level = 0, 0, [value]
    while level:
        depth += 1
        if depth > DEEPEST:
            raise _too_deep()
        below: list[Any] = []
        for one in level:
            if one.__class__ is dict:
                count += len(one)
                one = one.values()
            below += [item for item in one if item.__class__ is dict or item.__class__ is list]
        level = below
    return count


def _malformed(message: str, *, code: str = "invalid_json") -> Refused:
    return Refused(Problem(status=400, code=code, message=message))


def _too_deep() -> Refused:
    return _malformed(f"More than {DEEPEST} values stand inside each other in the body.", code="too_deep")


def _too_big(most: int) -> Refused:
    return Refused(
        Problem(
            status=413,
            code="body_too_big",
            message=f"The body is larger than {most:,} bytes, the gateway's gateway.max_body; send less.",
        )
    )
