"""Lets requests in: whose key it is, what the key may use, and what budgets and rates leave for the request."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from msgspec import structs

from cheapfirst import plan
from cheapfirst.access import Access, Key, Lease, Price, keys
from cheapfirst.catalog import Catalog
from cheapfirst.errors import AccessError, KeyRefused, NoModelFits, NotAllowed
from cheapfirst.gateway import failure
from cheapfirst.gateway.problem import Refused
from cheapfirst.gateway.stream import SLOW_READER
from cheapfirst.job import Job, Records
from cheapfirst.messages import Plan, Planned, Request, Story
from cheapfirst.money import total
from cheapfirst.policy import Policy

STEPPED = "a budget nears its end: starts on the cheapest tier"


class Admission:
    """The gateway's door. What runs for every request costs microseconds where no budget and no rate binds it."""

    def __init__(self, policy: Policy, store: str) -> None:
        self.access = Access(policy, store)
        self.served = (
            False  # by `cheapfirst serve`, to this machine, and not within an application that has its own say
        )
        self.closed = False  # keys were seen: from then on everybody needs one, whatever happens to the store
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Take another policy's budgets and rates from now on."""
        self.access.use(policy)
        self._policy = policy
        self._stepped: dict[str, Policy] = {}  # by task: the policy with that task on the cheapest tier

    async def enter(self, headers: Mapping[bytes, bytes]) -> Key | None:
        """The key that asks; None while none was ever made. Raises Refused (401, 403, 503)."""
        try:
            if not self.closed:
                if not await self.access.any_keys():
                    if self.served and b"origin" in headers:
                        _require_local(headers[b"origin"])
                    return None
                self.closed = True
            secret = _secret(headers)
            if secret is None:
                raise KeyRefused("this gateway needs a key: send it as `Authorization: Bearer cf-...`, or as x-api-key")
            return await self.access.authenticate(secret)
        except AccessError as error:
            raise Refused(failure.of(error)) from error

    def needed(self, request: Request, key: Key | None) -> bool:
        """Whether the request must be admitted: whether any budget or rate binds it."""
        return self.access.needed(request, key)

    async def admit(self, job: Job, key: Key | None, at: float) -> Job:
        """Reserve what the job may cost at worst, and return it bound to that. Recording the job's story settles it; a
        job that is never run keeps it until its time is over. `at` is the Unix time whose prices count. Raises
        AccessError."""
        lead = _priced(job.plan, job)
        cheap = self._step_down(job, key, at)
        lease = await self.access.admit(
            job.request,
            key,
            _price(lead),
            lead.prompt_tokens + lead.attempts[0].max_tokens if lead.attempts else 0,
            stepped=_price(cheap) if cheap is not None else None,
            wait=job.plan.deadline,
            lasts=job.plan.deadline + SLOW_READER,
        )
        chosen = job.plan if lease.max_cost is None else lead
        if lease.step_down and cheap is not None:
            chosen = cheap
        bound = structs.replace(chosen, max_cost=_lower(chosen.max_cost, lease.max_cost))
        return structs.replace(job, plan=bound, ledger=Settling(job.ledger, lease))

    async def close(self) -> None:
        """Settle what is left and close the store."""
        await self.access.close()

    def _step_down(self, job: Job, key: Key | None, at: float) -> Plan | None:
        """The plan of the same request on the cheapest tier, where a budget may ask for that."""
        cheapest = self._policy.tiers[0].name
        task = job.request.task
        if not self.access.steps or job.plan.forced or job.plan.tier == cheapest or task not in self._policy.routes:
            return None
        policy = self._stepped.get(task)
        if policy is None:
            route = structs.replace(self._policy.routes[task], tier=cheapest, tier_reason=STEPPED, long_prompt=None)
            policy = structs.replace(self._policy, routes={**self._policy.routes, task: route})
            self._stepped[task] = policy
        try:
            made = plan.make(job.request, policy, job.catalog, at=at)
            made = allowed(made, key, policy) if key is not None else made
        except (NoModelFits, AccessError):
            return None
        return _priced(made, job)


class Settling:
    """The ledger of one job: settles its lease with what the story says it cost."""

    def __init__(self, ledger: Records, lease: Lease) -> None:
        self._ledger = ledger
        self._lease = lease

    def record(self, story: Story) -> None:
        """Record the story. An attempt of unknown cost is settled as its worst case."""
        self._ledger.record(story)
        cost = total(attempt.planned.worst_case if attempt.cost is None else attempt.cost for attempt in story.attempts)
        usages = [attempt.outcome.usage for attempt in story.attempts]
        known = [usage.prompt_tokens + usage.completion_tokens for usage in usages if usage is not None]
        self._lease.settle(cost, sum(known) if len(known) == len(usages) else None)


def scoped(job: Job, key: Key) -> Job:
    """The job with only what the key may use. Raises NotAllowed."""
    keys.require_task(key, job.request.task)
    made = allowed(job.plan, key, job.policy)
    return job if made is job.plan else structs.replace(job, plan=made)


def allowed(made: Plan, key: Key, policy: Policy) -> Plan:
    """The plan with only what the key may use. Raises NotAllowed when it may not use the tier that it starts on."""
    if not key.tiers and not key.models:
        return made
    tiers = [tier.models for tier in policy.tiers if tier.name in key.tiers]

    def may(model: str) -> bool:
        return (not key.models or model in key.models) and (not key.tiers or any(model in tier for tier in tiers))

    first = made.attempts[0]
    kept = [
        structs.replace(attempt, fallbacks=tuple(filter(may, attempt.fallbacks)))
        for attempt in made.attempts
        if may(attempt.model)
    ]
    if not kept or kept[0].tier != first.tier:
        keys.require_model(key, first.model)
        keys.require_tier(key, next((tier.name for tier in policy.tiers if first.model in tier.models), "of no name"))
    return structs.replace(made, attempts=(structs.replace(kept[0], on=first.on), *kept[1:]))


def _require_local(origin: bytes) -> None:
    """Raise NotAllowed for a page from elsewhere: a browser on this machine lends it its way here, and it would spend
    with nobody's leave."""
    if not _is_local(origin.decode("latin-1")):
        raise NotAllowed(
            "origin",
            f"a page from {origin.decode('latin-1')[:100]!r} may not use this gateway without a key: make one "
            "(cheapfirst keys create), and send it",
        )


def _is_local(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _secret(headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(b"authorization")
    if given is not None and given[:7].lower() == b"bearer ":
        return given[7:].strip().decode("latin-1") or None
    given = headers.get(b"x-api-key")
    return given.strip().decode("latin-1") if given else None


def _priced(made: Plan, job: Job) -> Plan:
    """The plan with worst cases that hold whichever model answers and however many choices it gives; attempts whose
    price is unknown are left out."""
    choices = job.request.body.get("n")
    times = choices if isinstance(choices, int) and choices > 1 else 1
    priced = [
        structs.replace(attempt, worst_case=worst * times)
        for attempt in made.attempts
        if (worst := _worst(attempt, made.prompt_tokens, job.catalog)) is not None
    ]
    if priced:
        priced[0] = structs.replace(priced[0], on=made.attempts[0].on)
    return structs.replace(made, attempts=tuple(priced))


def _worst(attempt: Planned, prompt_tokens: int, catalog: Catalog) -> Decimal | None:
    if not attempt.fallbacks or attempt.worst_case is None:
        return attempt.worst_case
    others = [catalog.worst_case(model, prompt_tokens, attempt.max_tokens) for model in attempt.fallbacks]
    known = [amount for amount in others if amount is not None]
    return max(attempt.worst_case, *known) if len(known) == len(others) else None


def _price(made: Plan) -> Price | None:
    """What a priced plan may cost: for each tier its dearest model with all that cut-offs and re-asks add."""
    if not made.attempts:
        return None
    models: dict[tuple[str, str], Decimal] = {}
    for attempt in made.attempts:
        if attempt.on != "downgrade":  # instead of one that was refused, which costs nothing
            place = attempt.tier, attempt.model
            models[place] = models.get(place, Decimal(0)) + (attempt.worst_case or 0)
    tiers: dict[str, Decimal] = {}
    for (tier, _), amount in models.items():
        tiers[tier] = max(tiers.get(tier, Decimal(0)), amount)
    full = sum(tiers.values(), Decimal(0))
    least = made.attempts[0].worst_case or Decimal(0)
    return Price(full=_lower(full, made.max_cost) or Decimal(0), least=least)


def _lower(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    known = [amount for amount in (one, other) if amount is not None]
    return min(known, default=None)
