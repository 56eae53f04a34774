"""The story of one request that passes through: what the ledger records of it."""

from __future__ import annotations

import time
from decimal import Decimal

from cheapfirst.catalog.cost import lone_fee, reported
from cheapfirst.gateway.passthrough.witness import Witness
from cheapfirst.job import Records
from cheapfirst.messages import Attempt, Ending, Fault, Outcome, Plan, Planned, Request, Story
from cheapfirst.money import total
from cheapfirst.router import AsyncRouter
from cheapfirst.upstream import refusals
from cheapfirst.upstream.outcome import read_usage

UNKNOWN = "unknown"
"""Stands where the ledger has a model: the request names none."""

TIER = "passthrough"
"""Stands where the ledger has a tier: none of the policy's served it."""

NEVER_SENT = frozenset({"connect", "connect_timeout", "tls", "unsendable", "closed", "upstream_busy"})
"""Faults of calls that never reached the upstream."""


class Passing:
    """Follows a request on its way, and tells it once."""

    def __init__(
        self, router: AsyncRouter, records: Records, request: Request, now: float, worst: Decimal | None
    ) -> None:
        self.request = request
        self._router = router
        self._records = records
        self._worst = worst
        self._time = now
        self._began = time.perf_counter()
        self._first: float | None = None  # seconds to the answer's head
        self._witness = Witness()
        self._status = 0
        self._ending: Ending = "cancelled"
        self._fault: Fault | None = Fault(name="cancelled", sentence="the caller left before the answer was complete")

    @property
    def begun(self) -> bool:
        """Whether the answer's head has come."""
        return self._status > 0

    @property
    def status(self) -> int:
        """The answer's HTTP status; 0 before its head has come."""
        return self._status

    def begin(self, status: int) -> None:
        """The answer's head has come."""
        self._status = status
        self._first = time.perf_counter() - self._began

    def see(self, data: bytes) -> None:
        """A piece of the answer passes."""
        self._witness.see(data)

    def end(self) -> None:
        """The answer is over."""
        if self._status < 400:
            self._ending, self._fault = "accepted", None
        else:
            self._ending, self._fault = "fault", refusals.read(None, {}, http_status=self._status)

    def fail(self, fault: Fault) -> None:
        """The call failed."""
        self._ending, self._fault = "deadline" if fault.name == "deadline" else "fault", fault

    def attempt(self) -> Attempt:
        """The one attempt. Its cost is what the answer reports, else what its usage costs by the catalog, else unknown;
        a call that the upstream refused cost nothing."""
        seen = self._witness.seen()
        usage, catalog = read_usage(seen.usage), self._router.catalog
        asked = self.request.model or UNKNOWN
        served = catalog.normalise(seen.model, asked) if seen.model is not None else asked
        computed = catalog.cost(served, usage, self._time) if usage is not None else None
        cost, fee = reported(seen.usage), lone_fee(seen.usage)
        if cost is None and usage is not None:
            cost = computed if fee is None else total((computed, fee))
        if cost is None and usage is None and self._refused():
            cost = Decimal(0)
        outcome = Outcome(
            kind="answer" if self._fault is None else "fault",
            model=seen.model,
            generation_id=seen.id,
            usage=usage,
            reported_cost=reported(seen.usage),
            fee=fee,
            fault=self._fault,
            duration=time.perf_counter() - self._began,
            first_token=self._first if self.request.stream else None,
        )
        return Attempt(
            number=1,
            planned=Planned(on="start", tier=TIER, model=asked, form="none", max_tokens=0, worst_case=self._worst),
            on="start",
            outcome=outcome,
            model=served,
            cost=cost,
            computed_cost=computed,
        )

    def record(self) -> None:
        """Hand the story to the ledger."""
        attempt, policy = self.attempt(), self._router.policy
        self._records.record(
            Story(
                request=self.request,
                plan=Plan(
                    task=self.request.task,
                    shape="stream" if self.request.stream else "text",
                    tier=TIER,
                    attempts=(attempt.planned,),
                    reasons=("it passes through to the upstream",),
                    forced=True,
                    deadline=policy.limits.deadline,
                    policy_hash=policy.hash,
                ),
                attempts=(attempt,),
                ending=self._ending,
                time=self._time,
                duration=time.perf_counter() - self._began,
                first_token=attempt.outcome.first_token,
                winner=1 if self._fault is None else None,
                cost=attempt.cost,
            )
        )

    def _refused(self) -> bool:
        fault = self._fault
        if fault is None:
            return False
        return fault.name in NEVER_SENT or (self._status >= 400 and fault.name != "timeout")
