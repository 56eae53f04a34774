"""cheapfirst: the cheapest model that still does the job, proved by checks in code.

from cheapfirst import Router

router = Router()
answer = router.run("extract", email, schema=Ticket)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cheapfirst.checks import Context
    from cheapfirst.errors import (
        AnswerCutOff,
        AnswerRejected,
        CheapfirstError,
        CostCeilingReached,
        DeadlineExceeded,
        NoModelFits,
        PolicyError,
        RequestError,
        RequestFailed,
        UpstreamFault,
    )
    from cheapfirst.gateway.transport import async_http_client, http_client
    from cheapfirst.messages import Answer, Attempt, Finding, Plan, Usage, Verdict
    from cheapfirst.policy import Policy
    from cheapfirst.router import AsyncRouter, AsyncStream, Router, Stream

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "AnswerCutOff",
        "AnswerRejected",
        "CheapfirstError",
        "CostCeilingReached",
        "DeadlineExceeded",
        "NoModelFits",
        "PolicyError",
        "RequestError",
        "RequestFailed",
        "UpstreamFault",
    ),
    "gateway.transport": ("async_http_client", "http_client"),
    "messages": ("Answer", "Attempt", "Finding", "Plan", "Usage", "Verdict"),
    "checks": ("Context",),
    "policy": ("Policy",),
    "router": ("AsyncRouter", "AsyncStream", "Router", "Stream"),
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "AnswerCutOff",
    "AnswerRejected",
    "AsyncRouter",
    "AsyncStream",
    "Attempt",
    "CheapfirstError",
    "Context",
    "CostCeilingReached",
    "DeadlineExceeded",
    "Finding",
    "NoModelFits",
    "Plan",
    "Policy",
    "PolicyError",
    "RequestError",
    "RequestFailed",
    "Router",
    "Stream",
    "UpstreamFault",
    "Usage",
    "Verdict",
    "__version__",
    "async_http_client",
    "http_client",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import cheapfirst` itself costs next to nothing."""
    if name not in _WHERE:
        raise AttributeError(f"module 'cheapfirst' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"cheapfirst.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
