"""The OpenAPI document of the gateway: every path with what it takes, answers and refuses.

It promises what the gateway itself checks and nothing more: fields that only pass through have a description but no
type, and further fields are allowed wherever the wire passes them on.
"""

from __future__ import annotations

from collections.abc import Iterable

from cheapfirst.gateway.openapi import operations, schemas
from cheapfirst.messages import Wire


def document(version: str, paths: Iterable[str], tiers: Iterable[str]) -> Wire:
    """Return the OpenAPI 3.1 document for the paths that this gateway serves and its policy's tiers; `version` is
    cheapfirst's."""
    tiers = tuple(tiers)
    served = {*paths, *operations.BESIDE}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cheapfirst gateway",
            "version": version,
            "summary": "OpenAI-compatible: each request goes to the cheapest model whose answer passes its checks.",
            "description": (
                "`model` is a task of the policy, `auto`, or a real model. Answers carry a `cheapfirst` object that "
                "tells how they came to be. Other paths under /v1 pass through to the upstream."
            ),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in operations.TAGS.items()],
        "paths": {path: made for path, made in operations.paths(tiers).items() if path in served},
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A virtual key. Needed as soon as the gateway has one; Messages clients may send "
                    "it as x-api-key.",
                }
            },
            "schemas": schemas.schemas(tiers),
            "responses": operations.problems(),
            "headers": operations.headers(),
        },
    }
