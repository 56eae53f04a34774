"""Makes a finished request of a call from another tool's log: one attempt, no plan, no verdict."""

from __future__ import annotations

import base64
import hashlib
from decimal import Decimal

from cheapfirst.catalog import Catalog
from cheapfirst.ledger.importing.entry import Entry
from cheapfirst.ledger.importing.naming import spelled
from cheapfirst.messages import Attempt, Ending, Fault, Outcome, OutcomeKind, Plan, Planned, Request, Story, Verdict
from cheapfirst.policy import Policy

IMPORTED = "imported"
"""The policy's hash of requests that no policy decided, the tier of models that the policy does not name, and the task
of requests whose log names none."""

FAULTS = {
    400: "bad_request",
    401: "unauthorized",
    402: "account_dry",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limited",
    500: "server_error",
    502: "provider_unavailable",
    503: "provider_unavailable",
    504: "timeout",
    529: "overloaded",
}
"""HTTP status of a failed call -> our name of the fault; of any other one it is `unknown`."""

UNKNOWN = "unknown"


def request_id(source: str, id: str) -> str:
    """The id that a call has in the ledger, whichever export it comes from: `imp_` and 26 characters."""
    digest = hashlib.sha256(f"{source}\0{id}".encode("utf-8", "replace")).digest()
    return "imp_" + base64.b32encode(digest[:17]).decode()[:26].lower()


def story(entry: Entry, source: str, *, task: str, catalog: Catalog, policy: Policy) -> Story:
    """The call as a finished request.

    Its cost is what the log says, else its tokens at the catalog's prices of that time, else unknown. The baseline
    is the same tokens on the policy's premium model.
    """
    model = spelled(catalog, entry.model, entry.provider, batch=entry.batch)
    tier = next((tier.name for tier in policy.tiers if model in tier.models), IMPORTED)
    computed = catalog.cost(model, entry.usage, entry.time) if entry.usage is not None else None
    cost = entry.cost if entry.cost is not None else computed
    if cost is None and entry.failed and (entry.status or 0) >= 400:
        cost = Decimal(0)  # refused before there was an answer to bill
    premium = policy.premium.models[0]
    if model == premium:
        baseline = cost
    else:
        baseline = catalog.cost(premium, entry.usage, entry.time) if entry.usage is not None else None
    planned = Planned(on="start", tier=tier, model=model, form="none", max_tokens=entry.max_tokens or 0)
    streamed = entry.first_token is not None
    kind, ending, fault = _end(entry)
    attempt = Attempt(
        number=1,
        planned=planned,
        on="start",
        outcome=Outcome(
            kind=kind,
            finish=entry.finish,
            model=entry.model,
            provider=entry.provider,
            generation_id=entry.generation_id,
            usage=entry.usage,
            reported_cost=entry.cost,
            fault=fault,
            duration=entry.duration,
            first_token=entry.first_token,
        ),
        # Nothing was checked: it was handed out as it was.
        verdict=Verdict(accept=True) if ending == "accepted" else None,
        model=model,
        cost=cost,
        computed_cost=computed,
    )
    return Story(
        request=Request(
            id=request_id(source, entry.id),
            task=entry.task or task,
            body={},
            feature=entry.feature,
            tenant=entry.tenant,
            session=entry.session,
        ),
        plan=Plan(
            task=entry.task or task,
            shape="text",
            tier=tier,
            attempts=(),
            tiers=tuple(tier.name for tier in policy.tiers),
            reasons=(f"it comes from a log of {source}, so there was no plan",),
            mode="pass" if streamed else "off",
            prompt_tokens=entry.usage.prompt_tokens if entry.usage is not None else 0,
            policy_hash=IMPORTED,
        ),
        attempts=(attempt,),
        ending=ending,
        time=entry.time,
        duration=entry.duration,
        first_token=entry.first_token,
        winner=None if entry.failed else 1,
        cost=cost,
        baseline=baseline,
    )


def _end(entry: Entry) -> tuple[OutcomeKind, Ending, Fault | None]:
    if entry.failed:
        name = FAULTS.get(entry.status or 0, UNKNOWN)
        return "fault", "fault", Fault(name=name, sentence="", status=entry.status)
    if entry.finish in ("length", "max_tokens"):
        return "cut-off", "returned", None
    if entry.finish == "content_filter":
        return "refusal", "returned", None
    return "answer", "accepted", None
