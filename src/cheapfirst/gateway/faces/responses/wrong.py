"""The problems that a Responses request can have before it becomes a chat completion. Pure."""

from __future__ import annotations

from cheapfirst.gateway.problem import Problem, Refused


def wrong(param: str, message: str) -> Refused:
    """A field of the wrong kind."""
    return Refused(Problem(status=400, code="invalid_value", param=param, message=message))


def unsupported(param: str, message: str, *, code: str) -> Refused:
    """Something that the protocol has and the gateway has not."""
    return Refused(Problem(status=400, code=code, param=param, message=message))


def not_stored(param: str) -> Refused:
    """A reference to something that a server of this protocol would have kept."""
    return Refused(
        Problem(
            status=400,
            code="not_stored",
            param=param,
            message=f"{param[:60]} refers to something stored, and the gateway stores no answers and no prompts: leave "
            "it out, and send the earlier items (the output of the answers before) in input.",
        )
    )
