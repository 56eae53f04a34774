"""Turns what a caller gives into a wire body, a schema, checks and an id. Pure, but for the id's chance."""

from __future__ import annotations

import difflib
import os
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


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def request_id(now: float) -> str:
    """A new request id, sortable by time: "req_", ten characters of milliseconds, sixteen of chance
    (Crockford's base 32, as ULIDs have it)."""
    number = (int(now * 1000) << 80) | int.from_bytes(os.urandom(10))
    return "req_" + "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Tell `run`'s own options from further wire fields."""
    own = {key: value for key, value in options.items() if key in OPTIONS}
    return {**own, "wire": {key: value for key, value in options.items() if key not in OPTIONS}}


def texts(*, task: object, **options: object) -> None:
    """Raises RequestError when one of these is no text; all but the task may be absent."""
    for name, value in {"task": task, **options}.items():
        if not isinstance(value, str) and (value is not None or name == "task"):
            raise RequestError(f"{name} must be a text; got {type(value).__name__}")


WIRE = frozenset(
    [
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "max_completion_tokens",
        "min_p",
        "top_a",
        "top_k",
        "top_p",
        "n",
        "seed",
        "stop",
        "temperature",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning",
        "reasoning_effort",
        "include_reasoning",
        "service_tier",
        "session_id",
        "user",
        "metadata",
        "trace",
        "provider",
        "plugins",
        "cache_control",
        "prompt_cache_key",
        "prompt_cache_options",
        "prediction",
        "modalities",
        "image_config",
        "verbosity",
        "web_search_options",
        "stream_options",
        "usage",
        "debug",
        "transforms",
        "route",
        "models",
        "model",
        "messages",
        "stream",
        "store",
    ]
)
"""Wire fields that are known by name. Others are sent too, unless they look like a misspelt name of these."""


def refuse_misspelt(wire: Mapping[str, Any]) -> None:
    """Raise RequestError for a keyword that is almost an option or a known wire field: `shcema`, `max_tokns`."""
    for name in wire:
        if name not in WIRE and (close := difflib.get_close_matches(name, OPTIONS | WIRE, n=1, cutoff=0.8)):
            raise RequestError(
                f'unknown option {name!r}; did you mean "{close[0]}"? A wire field of that name can be set for a whole '
                "route, under params in the policy."
            )


def body(input: Input, wire: Mapping[str, Any]) -> Wire:
    refuse_misspelt(wire)
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
