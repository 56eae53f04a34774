"""Turns an error of the library into the problem that a client is told. Pure."""

from __future__ import annotations

from cheapfirst.errors import (
    AccessError,
    AnswerCutOff,
    AnswerRejected,
    BudgetExhausted,
    BudgetReserved,
    CheapfirstError,
    CostCeilingReached,
    DeadlineExceeded,
    KeyRefused,
    NoModelFits,
    NotAllowed,
    NoUpstreamKey,
    RateLimited,
    RequestError,
    RequestFailed,
    UpstreamFault,
)
from cheapfirst.gateway import trail
from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Fault

STATUS = {
    "rate_limited": 429,
    "rate_limited_daily": 429,
    "moderation": 400,
    "guardrail": 400,
    "context_length": 400,
    "bad_request": 400,
    "refused_by_provider": 400,
    "precondition_failed": 400,
    "payload_too_large": 413,
    "unprocessable": 422,
    "not_found": 404,
    "unsupported_form": 400,
    "silent": 504,
    "stalled": 504,
    "total_timeout": 504,
    "timeout": 504,
    "deadline": 504,
    "connect_timeout": 504,
    "overloaded": 503,
    "breaker_open": 503,
    "upstream_busy": 503,
    "closed": 503,
}
"""HTTP status by fault. Every other fault is 502: the gateway works and its upstream does not."""


def of(error: CheapfirstError, *, task: str = "", request_id: str | None = None) -> Problem:
    """Return the problem. Its message says what happened and what to do; no key and no text of a message is in it."""
    if isinstance(error, RequestFailed):
        told = trail.of_failure(error.request_id, task, error.attempts)
        code, status = _ended(error)
        fault = error.fault if isinstance(error, UpstreamFault) else None
        return Problem(
            status=status,
            code=code,
            message=str(error),
            request_id=error.request_id,
            retry_after=_wait(fault),
            trail=told,
        )
    if isinstance(error, AccessError):
        code, status = _kept_out(error)
        return Problem(
            status=status, code=code, message=str(error), request_id=request_id, retry_after=error.retry_after
        )
    if isinstance(error, NoUpstreamKey):
        return Problem(
            status=503,
            code="no_upstream_key",
            message="The gateway has no key for its upstream; its operator sets one in the environment variable that "
            "it named when it started.",
            request_id=request_id,
        )
    if isinstance(error, NoModelFits):
        return Problem(status=400, code="no_model_fits", message=str(error), request_id=request_id)
    if isinstance(error, RequestError):
        return Problem(status=400, code="invalid_request", message=str(error), request_id=request_id)
    return Problem(status=500, code="internal_error", message=str(error), request_id=request_id)


def unexpected(request_id: str | None) -> Problem:
    """The problem of a bug: what went wrong is in the gateway's log, not in the answer."""
    return Problem(
        status=500,
        code="internal_error",
        message="The gateway failed on this request; its log has the cause under the request's id.",
        request_id=request_id,
    )


def _ended(error: RequestFailed) -> tuple[str, int]:
    if isinstance(error, AnswerRejected):
        return "answer_rejected", 422
    if isinstance(error, AnswerCutOff):
        return "answer_cut_off", 422
    if isinstance(error, DeadlineExceeded):
        return "deadline_exceeded", 504
    if isinstance(error, CostCeilingReached):
        return "cost_ceiling_reached", 402
    if isinstance(error, UpstreamFault) and error.fault is not None:
        return f"upstream_{error.fault.name}", STATUS.get(error.fault.name, 502)
    return "no_answer", 502


def _kept_out(error: AccessError) -> tuple[str, int]:
    if isinstance(error, KeyRefused):
        return "invalid_api_key", 401
    if isinstance(error, NotAllowed):
        return f"{error.kind}_not_allowed", 403
    if isinstance(error, BudgetExhausted):
        return "budget_exhausted", 402
    if isinstance(error, BudgetReserved):
        return "budget_reserved", 429
    if isinstance(error, RateLimited):
        return "rate_limited", 429
    return "store_unavailable", 503


def _wait(fault: Fault | None) -> float | None:
    if fault is None:
        return None
    if fault.retry_after is not None:
        return fault.retry_after
    return 1.0 if STATUS.get(fault.name) in (429, 503) else None
