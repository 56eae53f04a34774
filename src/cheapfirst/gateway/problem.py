"""What the gateway answers when it cannot serve a request: one struct, which each protocol spells its own way."""

from __future__ import annotations

from msgspec import Struct

from cheapfirst.messages import Wire


class Problem(Struct, frozen=True, kw_only=True):
    """An error as the client sees it. Holds no key and no message text."""

    status: int  # HTTP status
    code: str  # stable and machine-readable; listed in docs/reference/gateway.md
    message: str  # what happened and what to do
    param: str | None = None  # the field of the request that is wrong; absent when it is none
    retry_after: float | None = None  # seconds until a retry makes sense; absent when unknown
    allow: str | None = None  # the methods that the path takes; absent: the method is not what is wrong
    request_id: str | None = None
    trail: Wire | None = None  # the `cheapfirst` object: what was tried; absent when nothing was

    @property
    def type(self) -> str:
        """The OpenAI protocol's word for this kind of error."""
        return TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")


TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refused(Exception):
    """Raised inside the gateway to answer a request with a problem instead."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.code)
