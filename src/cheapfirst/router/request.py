"""Turns what a caller gives into a wire body, a schema, checks and an id. Pure, but for the id's chance."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from cheapfirst.checks import Schema, read_schema
from cheapfirst.errors import RequestError
from cheapfirst.messages import Wire
from cheapfirst.policy import named
from cheapfirst.policy.checks import CHECKS, Check, Custom
from cheapfirst.policy.problems import Problems

Input: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A text (sent as one user message) or chat messages as the OpenAI protocol has them."""
CheckLike: TypeAlias = str | Mapping[str, Any] | Check | Callable[..., Any]
"""A check as the policy table spells it, a check struct, or a function `(value, context)`."""

RESERVED = frozenset({"model", "models", "messages", "stream"})
OPTIONS = frozenset({"schema", "source", "feature", "tenant", "session", "user_facing", "tier", "model", "checks"})
"""Names that `run` takes for itself; every other keyword is a wire field."""


def request_id(now: float) -> str:
    """A new request id, sortable by time: "req_", ten characters of milliseconds, sixteen of chance
    (Crockford's base 32, as ULIDs have it)."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = (int(now * 1000) << 80) | secrets.randbits(80)
    return "req_" + "".join(alphabet[(number >> shift) & 31] for shift in range(125, -1, -5))


def split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Tell `run`'s own options from further wire fields."""
    own = {key: value for key, value in options.items() if key in OPTIONS}
    return {**own, "wire": {key: value for key, value in options.items() if key not in OPTIONS}}


def texts(*, task: object, **options: object) -> None:
    """Raises RequestError when one of these is no text; all but the task may be absent."""
    for name, value in {"task": task, **options}.items():
        if not isinstance(value, str) and (value is not None or name == "task"):
            raise RequestError(f"{name} must be a text; got {type(value).__name__}")


def body(input: Input, wire: Mapping[str, Any]) -> Wire:
    for key in RESERVED & wire.keys():
        raise RequestError(f"{key!r} is not a wire field to set here: the policy and the plan decide it")
    if isinstance(input, str):
        messages: list[Any] = [{"role": "user", "content": input}]
    elif isinstance(input, Sequence):
        messages = [dict(message) if isinstance(message, Mapping) else message for message in input]
        if not all(isinstance(message, dict) for message in messages):
            raise RequestError("every chat message is a mapping with role and content")
    else:
        raise RequestError(f"input must be a text or a list of chat messages; got {type(input).__name__}")
    if isinstance(input, str) and not input.strip():
        raise RequestError("the input is empty: give a text or a list of chat messages")
    return {**wire, "messages": messages}


def wire_schema(wire: Mapping[str, Any]) -> Schema | None:
    """The schema of a `response_format` that the caller set as a wire field, if it has one."""
    response_format = wire.get("response_format")
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        wanted = response_format.get("json_schema")
        if isinstance(wanted, Mapping) and isinstance(wanted.get("schema"), Mapping):
            return read_schema(dict(wanted["schema"]))
        raise RequestError("response_format of type json_schema needs json_schema.schema")
    return None


def read_checks(
    checks: Sequence[CheckLike], registered: Mapping[str, Callable[..., Any]]
) -> tuple[tuple[Check, ...], Mapping[str, Callable[..., Any]]]:
    """Return a call's own checks and the functions behind their names. Raises RequestError for unusable ones."""
    custom = dict(registered)
    plain: list[Any] = []
    own: list[Check] = []
    for check in checks:
        if isinstance(check, str | Mapping):
            plain.append(check)
        elif callable(check):
            name = getattr(check, "__name__", type(check).__name__)
            custom[name] = check
            own.append(Custom(name=name))
        elif isinstance(check, (Custom, *CHECKS.values())):
            own.append(check)
        else:
            raise RequestError(
                f"a check is a name, a mapping, a check struct or a function; got {type(check).__name__}"
            )
    problems = Problems("")
    read = named.read(plain, custom, ("checks",), problems)
    if len(problems):
        raise RequestError("; ".join(problems.sentences()))
    return (*read, *own), custom
