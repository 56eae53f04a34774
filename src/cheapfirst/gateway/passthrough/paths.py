"""Which paths pass through to the upstream, where they lead there, and which headers go along. Pure.

Where a request goes is never the client's to say: its path must be plain, and stands below the policy's base URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cheapfirst.gateway.asgi import Headers
from cheapfirst.gateway.problem import Problem, Refused

METHODS = ("GET", "POST")
POSTED = frozenset(["audio", "completions", "embeddings", "images", "moderations", "rerank"])
"""First names of paths that take POST alone."""

ACCOUNT = frozenset(
    [
        "activity",
        "admin",
        "assistants",
        "auth",
        "batches",
        "byok",
        "chatkit",
        "containers",
        "conversations",
        "credits",
        "evals",
        "files",
        "fine_tuning",
        "generation",
        "generations",
        "guardrails",
        "key",
        "keys",
        "management",
        "organization",
        "organizations",
        "presets",
        "projects",
        "realtime",
        "skills",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
        "workspaces",
    ]
)
"""First names of paths that show or change the upstream's account, or what is stored there: all clients of a gateway
share that account, so these do not pass."""

_PLAIN = re.compile(r"/v1(?:/[A-Za-z0-9_.:@+,~-]+)+")
_QUERY = re.compile(r"[A-Za-z0-9_.:@+,~%&=;/?!$'()*-]{0,2048}")

_SENT = frozenset(["accept", "accept-language", "content-type", "idempotency-key", "openai-beta"])
_RETURNED = frozenset(
    [
        "cache-control",
        "content-disposition",
        "content-language",
        "content-type",
        "openai-model",
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "x-cheapfirst-simulated",
        "x-generation-id",
        "x-request-id",
    ]
)


def passes(path: str, served: Iterable[str]) -> bool:
    """Whether a path is one that the gateway does not serve itself; `served` are those that it does.

    What stands below a served path is the gateway's too.
    """
    if not path.startswith("/v1/"):
        return False
    return not any(path == own or path.startswith(f"{own}/") for own in served if own.startswith("/v1/"))


def target(path: str, raw_path: bytes, query: bytes, method: str) -> str:
    """Return path and query below the upstream's base URL. Raises Refused (400, 403, 405)."""
    names = path.split("/")[2:]
    if _PLAIN.fullmatch(path) is None or any(set(name) == {"."} for name in names) or b"%" in raw_path:
        raise _refused(400, "path_not_plain", "A path that passes through has plain names between single slashes.")
    if names[0].lower() in ACCOUNT:
        raise _refused(
            403,
            "path_not_passed",
            f"/v1/{names[0]} belongs to the upstream's account, which the gateway's clients share; ask the upstream "
            "itself, with a key of its own.",
        )
    methods = ("POST",) if names[0] in POSTED else METHODS
    if method not in methods:
        raise Refused(
            Problem(
                status=405,
                code="method_not_allowed",
                message=f"{path[:200]} takes {' and '.join(methods)}, not {method[:20]}.",
                allow=", ".join(methods),
            )
        )
    asked = query.decode("latin-1")
    if _QUERY.fullmatch(asked) is None:
        raise _refused(400, "query_not_plain", "The query holds a character that must be encoded, or is too long.")
    return path.removeprefix("/v1") + (f"?{asked}" if asked else "")


def task(path: str) -> str:
    """The name under which the ledger has such a request: its path below /v1, without what it identifies."""
    return path.removeprefix("/v1/")[:100]


def sent(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The headers of a request that go to the upstream. The client's key is not among them."""
    named = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers.items())
    return {name: value for name, value in named if name in _SENT}


def returned(headers: Mapping[str, str]) -> Headers:
    """The headers of the upstream's answer that go to the client."""
    return [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in headers.items()
        if name in _RETURNED or name.startswith("x-ratelimit-")
    ]


def _refused(status: int, code: str, message: str) -> Refused:
    return Refused(Problem(status=status, code=code, message=message))
