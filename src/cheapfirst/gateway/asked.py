"""Reads who asks for what from a chat-completions body and its headers. Pure.

Standard fields come first: `model` names the task, `metadata` says the rest, `user` and `prompt_cache_key` stand in for
tenant and session. Headers are for clients that can set nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from cheapfirst.catalog import Catalog
from cheapfirst.checks import Schema
from cheapfirst.errors import RequestError, nearest
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Request, Wire
from cheapfirst.policy import Policy
from cheapfirst.router.request import read_checks, request_id, wire_schema

AUTO = "auto"
"""The model name that lets `metadata.task`, a header or the policy's default task decide."""

LONGEST = 256
"""Characters of a feature, a tenant or a session."""

OURS = ("task", "feature", "tenant", "session", "tier", "checks", "user_facing")
"""What `metadata` may say to us; taken out of what goes upstream. As headers: x-cheapfirst-task, and so on."""

_HEADERS = {name: b"x-cheapfirst-" + name.replace("_", "-").encode() for name in OURS}


class Asked(Struct, frozen=True):
    """A request, and what else its body said."""

    request: Request
    schema: Schema | None
    usage: bool  # whether the client asked for a stream's usage chunk


def read(
    body: Wire, headers: Mapping[bytes, bytes], policy: Policy, catalog: Catalog, *, now: float, key: Any = None
) -> Asked:
    """Return the request that a body makes. `key` is the virtual key that asks, if any.

    Raises Refused for a model nobody knows and for values of the wrong kind, RequestError for an unusable schema.
    """
    said, metadata = _said(body, headers)
    task, model = _target(body.get("model"), said.get("task"), policy, catalog)
    stream = body.get("stream")
    if not isinstance(stream, bool | None):
        raise _wrong("stream", "stream must be true or false.")
    wire = {name: value for name, value in body.items() if name not in ("model", "models", "stream", "metadata")}
    if metadata:
        wire["metadata"] = metadata
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "messages must be a list with at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _wrong(f"messages[{number}]", "Each message is an object with a role and content.")
    options = body.get("stream_options")
    schema = wire_schema(body) if "response_format" in body else None
    return Asked(
        Request(
            id=request_id(now),
            task=task,
            body=wire,
            schema=schema.json if schema is not None else None,
            feature=said.get("feature"),
            tenant=tenant_of(said.get("tenant"), body.get("user"), key),
            session=said.get("session") or _short(body.get("prompt_cache_key")),
            key=key.id if key is not None else None,
            user_facing=_truth(said.get("user_facing")),
            tier=said.get("tier"),
            model=model,
            stream=stream is True,
            checks=_checks(said.get("checks")),
        ),
        schema,
        isinstance(options, dict) and options.get("include_usage") is True,
    )


def _said(body: Wire, headers: Mapping[bytes, bytes]) -> tuple[dict[str, str], Wire | None]:
    """What the client says to us, and what is left of its metadata for the upstream."""
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _wrong("metadata", "metadata must be an object of texts.")
    said: dict[str, str] = {}
    for name, header in _HEADERS.items():
        value = metadata.get(name) if metadata else None
        if value is None and header in headers:
            value = headers[header].decode("latin-1")
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise _wrong(f"metadata.{name}", f"metadata.{name} must be a text.")
        if len(value) > LONGEST:
            raise _wrong(f"metadata.{name}", f"metadata.{name} is longer than {LONGEST} characters.")
        said[name] = value
    rest = {name: value for name, value in metadata.items() if name not in OURS} if metadata else None
    return said, rest


def _target(model: object, task: str | None, policy: Policy, catalog: Catalog) -> tuple[str, str | None]:
    """The task, and the model when a real one is named (it is then forced)."""
    if model is None or model == "" or model == AUTO:
        if task is not None and task not in policy.routes:
            raise _unknown(task, "task", "metadata.task", policy)
        return task or policy.default_task, None
    if not isinstance(model, str):
        raise _wrong("model", "model must be a text: a task, auto, or a model.")
    if model in policy.routes:
        return model, None
    if task is not None and task not in policy.routes:
        raise _unknown(task, "task", "metadata.task", policy)
    if not (catalog.model(model).known or any(model in tier.models for tier in policy.tiers)):
        known = nearest(model, [AUTO, *policy.routes]) or nearest(model, catalog.ids()) if len(model) < 100 else ""
        raise _unknown(model, "model", "model", policy, known)
    return task or policy.default_task, model


def _unknown(name: str, kind: str, param: str, policy: Policy, hint: str | None = None) -> Refused:
    if hint is None:
        hint = nearest(name, policy.routes)
    return Refused(
        Problem(
            status=404,
            code=f"{kind}_not_found",
            param=param,
            message=f"There is no {kind} {name[:100]!r}{hint or '.'} Name a task of the policy "
            f"({', '.join(sorted(policy.routes))}), {AUTO}, or a model that GET /v1/models lists.",
        )
    )


def tenant_of(said: str | None, user: object, key: Any) -> str | None:
    """The tenant: the key's own, else what the request says. Raises Refused (403) where they differ."""
    own: str | None = key.tenant if key is not None else None
    if own is not None and said is not None and said != own:
        raise Refused(
            Problem(
                status=403,
                code="tenant_not_allowed",
                param="metadata.tenant",
                message="This key belongs to another tenant; leave metadata.tenant out or use that tenant's key.",
            )
        )
    return own or said or _short(user)


def _short(value: object) -> str | None:
    return value[:LONGEST] if isinstance(value, str) and value else None


def _truth(value: str | None) -> bool | None:
    if value is None:
        return None
    if value not in ("true", "false"):
        raise _wrong("metadata.user_facing", 'metadata.user_facing must be "true" or "false".')
    return value == "true"


def _checks(value: str | None) -> tuple[Any, ...]:
    if value is None:
        return ()
    try:
        read, _ = read_checks([name.strip() for name in value.split(",") if name.strip()], {})
    except RequestError as error:
        raise _wrong("metadata.checks", str(error)) from None
    return read


def _wrong(param: str, message: str) -> Refused:
    return Refused(Problem(status=400, code="invalid_value", param=param, message=message))
