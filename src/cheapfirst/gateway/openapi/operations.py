"""The operations of the OpenAPI document: which path takes what, and what may come back."""

from __future__ import annotations

from collections.abc import Iterable

from cheapfirst.gateway.openapi.schemas import ref, says
from cheapfirst.messages import Wire

TAGS = {
    "inference": "Served by the cascade: routed, checked, escalated, recorded.",
    "passthrough": "Sent on to the upstream as they are, with usage recorded.",
    "service": "About the gateway itself.",
}

BESIDE = ("/v1/models/{model}", "/v1/embeddings")
"""Paths that are there without an entry of their own: one of a list, and one of those that pass through."""

PROBLEMS = {
    400: "The request cannot be served as it is; `error.param` names the field.",
    401: "A key is needed, or this one is unknown, revoked or expired.",
    402: "A budget or a cost ceiling does not allow it.",
    403: "This key may not do that.",
    404: "No such model, task or path.",
    405: "The path does not take this method; Allow names those it takes.",
    408: "The request came too slowly.",
    413: "The body is too big.",
    415: "The body is packed in a way that the gateway does not know.",
    422: "No answer passed its checks, or the answer was cut off; `cheapfirst` tells what was tried.",
    429: "Too many requests, here or upstream; wait as long as Retry-After says.",
    431: "The request's head is too big.",
    500: "The gateway failed; its log has the cause under the request's id.",
    502: "The upstream failed.",
    503: "Overloaded or stopping; wait as long as Retry-After says.",
    504: "The deadline passed.",
}

HEADERS = {
    "x-cheapfirst-request-id": "The request's id, as the ledger and the log have it.",
    "x-cheapfirst-task": "The task that it was taken for.",
    "x-cheapfirst-tier": "The tier that answered.",
    "x-cheapfirst-model": "The model that answered.",
    "x-cheapfirst-escalated": "Whether a cheaper answer was rejected: true or false.",
    "x-cheapfirst-attempts": "Upstream calls made.",
    "x-cheapfirst-cost": "USD over all attempts, or unknown.",
    "x-cheapfirst-baseline": "USD on the premium model alone, or unknown.",
    "retry-after": "Seconds to wait.",
}


def paths(tiers: Iterable[str]) -> dict[str, Wire]:
    """Every path that the gateway knows; a gateway lists those that it serves. `tiers` are its policy's."""
    said = says(tiers)
    return {
        "/v1/chat/completions": {"post": _ask("createChatCompletion", "Answer a chat", "Chat", said)},
        "/v1/responses": {"post": _ask("createResponse", "Answer in the Responses protocol", "Responses", said)},
        "/v1/messages": {"post": _ask("createMessage", "Answer in the Messages protocol", "Messages", said)},
        "/v1/models": {"get": _page("listModels", "List what `model` may name", "ListedModels")},
        "/v1/models/{model}": {
            "get": _page("getModel", "Look one of them up", "ListedModel", [404]),
            "parameters": [
                {
                    "name": "model",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.:-]+)?$"},
                    "description": "A task, `auto`, or a model; a slash in it may stand as it is or encoded.",
                }
            ],
        },
        "/v1/embeddings": {"post": _embeddings()},
        "/health": {"get": _health("health")},
        "/health/ready": {"get": _health("ready")},
        "/health/live": {"get": _page("live", "Whether the process answers at all", "Health", auth=False)},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _page("openapi", "This document", None)},
    }


def problems() -> dict[str, Wire]:
    """The answers to requests that cannot be served, by name."""
    made = {}
    for status, text in PROBLEMS.items():
        headers = [name for name in ("retry-after",) if status in (429, 503)]
        for shape in ("Error", "MessagesError"):
            made[f"{shape}{status}"] = {
                "description": text,
                "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
                "content": {"application/json": {"schema": ref(shape)}},
            }
    return made


def headers() -> dict[str, Wire]:
    """The headers of answers, by name."""
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()}


def _ask(id: str, summary: str, kind: str, said: dict[str, Wire]) -> Wire:
    told = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS if name != "retry-after"}
    return {
        "operationId": id,
        "summary": summary,
        "tags": ["inference"],
        "parameters": [
            {
                "name": f"x-cheapfirst-{name.replace('_', '-')}",
                "in": "header",
                "required": False,
                "schema": schema,
                "description": f"As metadata.{name}, for clients that can set nothing else; metadata wins.",
            }
            for name, schema in said.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(f"{kind}Request")}}},
        "responses": {
            "200": {
                "description": "The answer, or with `stream` its events.",
                "headers": told,
                "content": {
                    "application/json": {"schema": ref(f"{kind}Answer")},
                    "text/event-stream": {"schema": {"description": "Server-sent events."}},
                },
            },
            **_refused(PROBLEMS, "MessagesError" if kind == "Messages" else "Error"),
        },
    }


def _page(id: str, summary: str, answer: str | None, more: list[int] | None = None, *, auth: bool = True) -> Wire:
    made: Wire = {
        "operationId": id,
        "summary": summary,
        "tags": ["service"],
        "responses": {
            "200": {
                "description": summary + ".",
                "content": {"application/json": {"schema": ref(answer) if answer else {"type": "object"}}},
            },
            **_refused([*([401, 403, 429] if auth else []), *(more or []), 405, 431, 500], "Error"),
        },
    }
    return made if auth else {**made, "security": [{}]}


def _health(id: str) -> Wire:
    made = _page(id, "Whether requests are welcome", "Health", auth=False)
    made["responses"]["503"] = {
        "description": "The gateway is stopping.",
        "content": {"application/json": {"schema": ref("Health")}},
    }
    return made


def _metrics() -> Wire:
    made = _page("metrics", "Counted numbers, as Prometheus reads them", None)
    text: Wire = {"schema": {"type": "string"}}
    made["responses"]["200"]["content"] = {"text/plain": text, "application/openmetrics-text": text}
    return made


def _embeddings() -> Wire:
    return {
        "operationId": "createEmbedding",
        "summary": "Make embeddings at the upstream",
        "description": "As any other path under /v1 that is not listed here, this one passes through: GET and POST, "
        "status and body unchanged, with the gateway's key and never the client's.",
        "tags": ["passthrough"],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"model": {}, "input": {}},
                        "additionalProperties": True,
                    }
                }
            },
        },
        "responses": {
            "200": {"description": "The upstream's answer.", "content": {"application/json": {"schema": {}}}},
            "default": {
                "description": "The upstream's own refusal, or the gateway's, which has the shape of Error.",
                "content": {"application/json": {"schema": {"anyOf": [ref("Error"), {}]}}},
            },
        },
    }


def _refused(statuses: list[int] | dict[int, str], shape: str) -> dict[str, Wire]:
    return {str(status): {"$ref": f"#/components/responses/{shape}{status}"} for status in sorted(statuses)}
