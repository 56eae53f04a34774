"""Reads what a request that passes through is: whose, for which model, and what it may cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from cheapfirst.access import Key, Price
from cheapfirst.catalog import Catalog
from cheapfirst.gateway import body
from cheapfirst.gateway.asked import LONGEST, tenant_of
from cheapfirst.gateway.passthrough import paths
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Request, Usage, Wire
from cheapfirst.router.request import request_id

BYTES_PER_TOKEN = 2
"""Deliberately low: texts have about four, lists of token numbers at least two."""

_FORM_MODEL = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,200})\r\n')


def said(headers: Mapping[bytes, bytes], content: bytes) -> Wire:
    """What the body says, as far as we read it: all of a JSON object, the model of a form, nothing of anything else.

    Raises Refused for JSON that says one thing twice: who reads it after us might read another model than we did.
    """
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content and (kind == b"application/json" or kind.endswith(b"+json")):
        return body.decode(content)
    if kind == b"multipart/form-data" and (match := _FORM_MODEL.search(content)) is not None:
        return {"model": match[1].decode(errors="replace")}
    return {}


def request(path: str, headers: Mapping[bytes, bytes], wire: Wire, key: Key | None, now: float) -> Request:
    """What the ledger knows of the request. Raises Refused for names that are too long and for another's tenant."""
    model = wire.get("model")
    return Request(
        id=request_id(now),
        task=paths.task(path),
        body={},
        feature=_header(headers, b"x-cheapfirst-feature"),
        tenant=tenant_of(_header(headers, b"x-cheapfirst-tenant"), wire.get("user"), key),
        session=_header(headers, b"x-cheapfirst-session"),
        key=key.id if key is not None else None,
        model=model[:LONGEST] if isinstance(model, str) and model else None,
        stream=wire.get("stream") is True,
    )


def tokens(content: bytes) -> int:
    """Prompt tokens at most, estimated."""
    return len(content) // BYTES_PER_TOKEN + 1


def price(asked: Request, wire: Wire, content: bytes, catalog: Catalog, now: float) -> Price | None:
    """USD that the request may cost; None where nobody knows: prices are per token, and only of embeddings and
    completions is it known how many those can be."""
    if asked.model is None:
        return None
    worst: Decimal | None = None
    if asked.task == "embeddings":
        worst = catalog.cost(asked.model, Usage(prompt_tokens=tokens(content)), now)
    elif asked.task == "completions":
        most = wire.get("max_tokens")
        if not isinstance(most, int) or most < 1:
            most = catalog.model(asked.model).max_output
        if most is not None:
            worst = catalog.worst_case(asked.model, tokens(content), most * _times(wire), now)
    return None if worst is None else Price(full=worst, least=worst)


def _times(wire: Wire) -> int:
    counts = [count for name in ("n", "best_of") if isinstance(count := wire.get(name), int)]
    prompt = wire.get("prompt")
    several = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return max([1, *counts]) * several


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name, b"").decode("latin-1")
    if len(value) > LONGEST:
        raise Refused(
            Problem(
                status=400,
                code="invalid_value",
                param=name.decode(),
                message=f"{name.decode()} is longer than {LONGEST} characters.",
            )
        )
    return value or None
