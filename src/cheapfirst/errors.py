"""Every error cheapfirst raises, in one tree. Each message says what happened, where, what is allowed and what to do.

CheapfirstError
├── PolicyError            the policy table is wrong: file, key, what is allowed, the nearest match
├── CatalogError           a price or capability file cannot be read
├── RequestError           the caller's request is wrong (unknown task, empty messages, unusable schema)
│   ├── NoModelFits        no model the policy allows can take this request; says what each one lacks
│   └── NoUpstreamKey      the upstream's API key is not set
├── RequestFailed          the request ran and has no acceptable answer; carries every attempt
│   ├── AnswerRejected     the last tier's answer failed its checks; carries that answer and its verdict
│   ├── AnswerCutOff       the answer was still cut off when no attempt with more room was left
│   ├── UpstreamFault      the provider failed and no attempt was left; carries the fault
│   ├── DeadlineExceeded   the request's overall deadline (seconds) passed
│   └── CostCeilingReached the next attempt could have cost more than the request's ceiling (USD)
├── AccessError            the gateway does not let a request in: its key, a budget, a rate, the store of these
│   ├── KeyRefused         no key came, or nobody has it, or it is revoked or expired
│   ├── NotAllowed         the key may not use that task, tier or model
│   ├── BudgetExhausted    a budget has too little left for this request; says when it begins anew
│   ├── BudgetReserved     what is left of a budget is reserved by requests under way
│   ├── RateLimited        too many requests or tokens, in a minute or at once; says how long to wait
│   └── StoreUnavailable   keys, budgets and rates cannot be read now, so nothing is let in
├── LedgerError            a ledger cannot be read (recording never raises)
├── GatewayError           the gateway cannot start: its address is taken, its options do not fit
├── SimulatorError         the simulator was given something it cannot serve
└── MissingExtra           an optional dependency is not installed; says the command that installs it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cheapfirst.messages import Answer, Attempt, Fault


class CheapfirstError(Exception):
    """Base of every error cheapfirst raises."""


class PolicyError(CheapfirstError):
    """The policy table is wrong. `problems` holds every one found, each a full sentence."""

    def __init__(self, problems: Iterable[str], *, source: str = "policy") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


class CatalogError(CheapfirstError):
    """A price or capability source cannot be read."""


class RequestError(CheapfirstError):
    """The caller's request is wrong; nothing was sent upstream."""


class NoModelFits(RequestError):
    """No model the policy allows can take this request. `lacks` maps model -> what it lacks."""

    def __init__(self, task: str, lacks: dict[str, str]) -> None:
        self.task = task
        self.lacks = dict(lacks)
        detail = "; ".join(f"{model}: {why}" for model, why in self.lacks.items()) or "the route names no model"
        super().__init__(
            f"no model fits this request for task {task!r}: {detail}. "
            "Shorten the request, or give the tier a model that has what is missing."
        )


class NoUpstreamKey(RequestError):
    """The upstream's API key is not set; nothing was sent."""


class RequestFailed(CheapfirstError):
    """The request ran and has no acceptable answer. `attempts` is the whole trail, each with its cost."""

    def __init__(self, sentence: str, *, request_id: str, attempts: tuple[Attempt, ...] = ()) -> None:
        self.request_id = request_id
        self.attempts = attempts
        super().__init__(f"{sentence} (request {request_id})")


class AnswerRejected(RequestFailed):
    """The last tier's answer failed its checks. `answer` is the best one, with its verdict."""

    def __init__(
        self, sentence: str, *, request_id: str, attempts: tuple[Attempt, ...] = (), answer: Answer | None = None
    ) -> None:
        self.answer = answer
        super().__init__(sentence, request_id=request_id, attempts=attempts)


class AnswerCutOff(RequestFailed):
    """The answer was still cut off when no attempt with more room was left. `answer` is what there is of it."""

    def __init__(
        self, sentence: str, *, request_id: str, attempts: tuple[Attempt, ...] = (), answer: Answer | None = None
    ) -> None:
        self.answer = answer
        super().__init__(sentence, request_id=request_id, attempts=attempts)


class UpstreamFault(RequestFailed):
    """The provider failed and no attempt was left. `fault` names how."""

    def __init__(
        self, sentence: str, *, request_id: str, attempts: tuple[Attempt, ...] = (), fault: Fault | None = None
    ) -> None:
        self.fault = fault
        super().__init__(sentence, request_id=request_id, attempts=attempts)


class DeadlineExceeded(RequestFailed):
    """The request's overall deadline (seconds, across all attempts) passed."""


class CostCeilingReached(RequestFailed):
    """The next attempt's worst case would exceed the request's cost ceiling (USD)."""


class AccessError(CheapfirstError):
    """A request was not let in; nothing was sent upstream. `retry_after` is seconds until it may be; None: unknown."""

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(sentence)


class KeyRefused(AccessError):
    """No key came, or nobody has it, or it is revoked or expired."""


class NotAllowed(AccessError):
    """The key may not use that task, tier or model, or nobody may without a key from that origin. `kind` is which."""

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class BudgetExhausted(AccessError):
    """A budget has too little left for this request. `resets` is the Unix time (seconds) when it begins anew; None:
    it never does."""

    def __init__(self, sentence: str, *, resets: float | None = None, retry_after: float | None = None) -> None:
        self.resets = resets
        super().__init__(sentence, retry_after=retry_after)


class BudgetReserved(AccessError):
    """What is left of a budget is reserved by requests under way, and none of them ended in time."""


class RateLimited(AccessError):
    """Too many requests or tokens in a minute, or requests at once."""


class StoreUnavailable(AccessError):
    """The store of keys, budgets and rates cannot be read or written now, so nothing is let in."""


class LedgerError(CheapfirstError):
    """A ledger cannot be opened or read. Recording never raises this."""


class GatewayError(CheapfirstError):
    """The gateway cannot start."""


class SimulatorError(CheapfirstError):
    """The simulator was given something it cannot serve."""


class MissingExtra(CheapfirstError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}. Install it with: pip install 'cheapfirst[{extra}]'")


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return a hint like `; did you mean "extract"?` for a mistyped word, or "" when nothing is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
