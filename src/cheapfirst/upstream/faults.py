"""Every way an upstream call can fail, by name: what may be done about it, and what to tell people."""

from __future__ import annotations

from msgspec import Struct

from cheapfirst.messages import Fault


class FaultKind(Struct, frozen=True):
    """What a fault allows, and a sentence for people: what happened and what to do."""

    retry: bool  # the same call may be made again
    failover: bool  # another model may be tried
    downgrade: bool  # the same model with a weaker structured-output form may be tried
    cheaper: bool  # only a call with less room or a lower price may be tried
    sentence: str


def _passing(sentence: str) -> FaultKind:
    return FaultKind(True, True, False, False, sentence)


def _other_model(sentence: str) -> FaultKind:
    return FaultKind(False, True, False, False, sentence)


def _final(sentence: str) -> FaultKind:
    return FaultKind(False, False, False, False, sentence)


FAULTS: dict[str, FaultKind] = {
    # No answer came.
    "connect": _passing("No connection to the upstream could be made; check base_url and the network."),
    "connect_timeout": _passing("The upstream did not accept a connection within timeouts.connect."),
    "tls": _final("The upstream's TLS certificate or handshake failed; check base_url and the machine's certificates."),
    "no_response": _passing("The upstream closed the connection before it answered."),
    "silent": _passing("The upstream took the request and sent no token within the timeout."),
    "redirect": _final(
        "The upstream redirected elsewhere, where the key is not sent; set base_url to the final address."
    ),
    "unsendable": _final("The request cannot be put on the wire; check base_url, the headers and the body's values."),
    "closed": _final("The upstream client was closed; make a new one."),
    "breaker_open": _other_model(
        "The model failed too often just now, so it is left alone for a moment; see upstream.breaker."
    ),
    "upstream_busy": _other_model(
        "Too many calls to the upstream are under way or waiting; raise upstream.concurrency, or ask for less at once."
    ),
    "deadline": _final("The request's overall deadline passed; raise limits.deadline or ask for less."),
    # An answer began and did not end well.
    "stalled": _passing("The upstream stopped sending in the middle of its answer for longer than timeouts.silence."),
    "total_timeout": _passing("The answer was not complete within timeouts.total; raise it or ask for less."),
    "cut_stream": _passing("The connection or stream ended before the answer did."),
    "malformed": _passing("The upstream sent something that is not a JSON object of this protocol; check base_url."),
    "empty": _passing("The upstream answered without any content."),
    "error_finish": _passing("The provider broke off its answer with an error."),
    "answer_too_big": _other_model("The answer is longer than the client accepts; lower max_tokens."),
    # The upstream refused: limits and money.
    "rate_limited": _passing("Too many requests for this model at the moment; wait, or lower the concurrency."),
    "rate_limited_daily": _other_model("The free requests of the day are used up; wait for the reset or add credits."),
    "payment_required": FaultKind(
        False, False, False, True, "The account cannot pay for that much output; lower max_tokens or add credits."
    ),
    "account_dry": _final("The account or key has no credit left; add credits or raise the key's limit."),
    # The upstream refused: who asks, and what for.
    "unauthorized": _final("The API key is missing, wrong or disabled; check the variable named by upstream.key_env."),
    "forbidden": _final("The API key may not do this; check its permissions."),
    "moderation": _final("The input was refused by moderation or a content policy."),
    "guardrail": _final("The input was refused by a guardrail of the account; check its guardrail settings."),
    "not_found": _other_model("The model, or an endpoint that meets the request's constraints, is not available."),
    "unsupported_form": FaultKind(
        False, True, True, False, "No endpoint of this model takes this structured-output form or schema."
    ),
    "context_length": _other_model("The prompt and the answer's room do not fit the model's context window."),
    "refused_by_provider": _other_model("The model's provider did not accept this request."),
    "bad_request": _final("The upstream did not accept the request; check its fields."),
    "precondition_failed": _final("A precondition of the request was not met."),
    "payload_too_large": _final("The request is too large for the upstream; send less."),
    "unprocessable": _final("The upstream understood the request and cannot process it; check its values."),
    # The upstream or its provider is in trouble.
    "server_error": _passing("The upstream had an internal error."),
    "provider_unavailable": _passing("The model's provider is not available or broke the connection."),
    "overloaded": _passing("The model's provider is overloaded."),
    "timeout": _passing("The upstream's own wait for the provider timed out."),
}


class Failed(Exception):
    """Carries a fault out of the depths of a call. Never leaves this room."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.name)


def make(
    name: str,
    *,
    detail: str = "",
    note: str = "",
    status: int | None = None,
    error_type: str | None = None,
    retryable: bool | None = None,
    retry_after: float | None = None,
) -> Fault:
    """Return the fault of that name.

    `detail` is the upstream's own message, already freed of keys and message text; `note` is ours: where.
    `retryable` is the upstream's own word on a retry and wins over the table. Raises KeyError for an unknown name.
    """
    kind = FAULTS[name]
    sentence = f"{kind.sentence[:-1]} ({note})." if note else kind.sentence
    return Fault(
        name=name,
        sentence=f"{sentence} The upstream says: {detail}" if detail else sentence,
        status=status,
        error_type=error_type,
        retry=kind.retry if retryable is None else retryable,
        failover=kind.failover,
        downgrade=kind.downgrade,
        cheaper=kind.cheaper,
        retry_after=retry_after,
    )
