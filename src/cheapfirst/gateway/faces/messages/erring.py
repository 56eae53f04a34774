"""Spells problems as Anthropic does, and makes those that a Messages request can have. Pure."""

from __future__ import annotations

from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Wire

TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's type by status; every other 4xx is invalid_request_error, every other 5xx api_error."""


def error(problem: Problem) -> Wire:
    """The protocol's error object; our code and the field beside its type, `cheapfirst` says what was tried."""
    usual = "api_error" if problem.status >= 500 else "invalid_request_error"
    told: Wire = {
        "type": "error",
        "error": {
            "type": TYPES.get(problem.status, usual),
            "message": problem.message,
            "code": problem.code,
            "param": problem.param,
        },
        "request_id": problem.request_id,
    }
    if problem.trail is not None:
        told["cheapfirst"] = problem.trail
    return told


def wrong(param: str, message: str) -> Refused:
    """A field of the wrong kind."""
    return Refused(Problem(status=400, code="invalid_value", param=param, message=message))


def unsupported(param: str, message: str) -> Refused:
    """Something that Anthropic's own servers do and the gateway does not."""
    return Refused(Problem(status=400, code="not_supported", param=param, message=message))
