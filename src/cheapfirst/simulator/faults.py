"""Every fault the simulator can show, by name: what happens, and on which kind of request."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Stage: TypeAlias = Literal["refuse", "break", "alter", "form"]
On: TypeAlias = Literal["both", "stream", "whole"]


class FaultKind(Struct, frozen=True):
    """One fault.

    `refuse`: an error before anything was generated, the next of `models` is tried. `break`: the answer is
    generated, then lost or spoiled on its way. `alter`: the answer itself is cut, emptied or dressed.
    `form`: a good answer in another spelling that the real wire also uses. A request meets at most one
    refusal, one break and one alteration, and any number of forms.
    """

    stage: Stage
    on: On
    what: str


def _refuse(what: str) -> FaultKind:
    return FaultKind("refuse", "both", what)


FAULTS: dict[str, FaultKind] = {
    # Errors before the first token: JSON with an HTTP status, streamed request or not.
    "400_invalid_request": _refuse(
        "400, `invalid_request`: the provider did not like the request; why stands in `metadata.raw`"
    ),
    "400_schema": _refuse("400, `invalid_request`: the provider cannot compile the JSON schema"),
    "400_context_length": _refuse("400, `context_length_exceeded`, whatever the prompt's length"),
    "400_model_not_found": _refuse("400, availability `model_not_found`"),
    "400_wrong_endpoint": _refuse("400, availability `wrong_endpoint`"),
    "401": _refuse("401, `authentication`: the key is not known"),
    "402_affordability": _refuse("402: more output was asked for than the account can pay; half of it could be paid"),
    "402_empty": _refuse("402: the account is empty or negative"),
    "403_moderation": _refuse("403, moderation: `metadata` with `reasons` and `flagged_input`"),
    "403_guardrail": _refuse("403, guardrail: `metadata.patterns`"),
    "403_region": _refuse("403, availability `region_restricted`"),
    "404_no_endpoints": _refuse("404, availability `no_endpoints`"),
    "404_tools": _refuse("404, no endpoints that support tool use; availability `constraint_filtered`"),
    "404_constraint": _refuse("404, availability `constraint_filtered` by `require_parameters`"),
    "404_privacy": _refuse("404, guardrail and data policy; availability `privacy_restricted`"),
    "404_deprecated": _refuse("404, availability `model_deprecated` with `fallback_models`"),
    "404_upstream": _refuse("404, availability `model_unavailable_upstream`"),
    "404_free_ended": _refuse("404, availability `free_variant_ended`"),
    "404_docs_form": _refuse(
        "404 in the documentation's spelling: no `code`, but `error_type` and `http_status` in `error`"
    ),
    "408_timeout": _refuse("408, `timeout`"),
    "412_precondition": _refuse("412, `precondition_failed`"),
    "413_too_large": _refuse("413, `payload_too_large`"),
    "422_unprocessable": _refuse("422, `unprocessable`"),
    "429_retry_after": _refuse("429 with `Retry-After`"),
    "429_plain": _refuse("429 without `Retry-After`"),
    "429_shared_pool": _refuse("429, `limit_source` `upstream_provider_shared_pool`, the reason in `metadata.raw`"),
    "429_free_daily": _refuse(
        "429, free requests of the day used up: `X-RateLimit-*` headers, also in `metadata.headers`"
    ),
    "429_capacity": _refuse("429, availability `capacity_exhausted`, retryable with `retry_after`"),
    "500_server": _refuse("500, `server`, generic message"),
    "502_provider": _refuse('502, `provider_unavailable`: "Provider returned error", the reason in `metadata.raw`'),
    "503_overloaded": _refuse("503, `provider_overloaded`, with `Retry-After`"),
    "503_unavailable": _refuse("503, availability `temporarily_unavailable`, retryable"),
    "504_timeout": _refuse("504, `timeout`"),
    "524_html": _refuse("524 with an HTML page for a body, as a proxy in front answers"),
    "529_overloaded": _refuse("529, `provider_overloaded`"),
    # Nothing comes at all.
    "silent": FaultKind("break", "both", "headers never come: the request is held until the client leaves; not billed"),
    "silent_billed": FaultKind("break", "both", "as `silent`, but the model had answered: billed, never delivered"),
    "no_response": FaultKind("break", "both", "the connection is closed without a byte; not billed"),
    # The answer is on its way and something happens to it.
    "200_error_body": FaultKind(
        "break", "both", "HTTP 200, but the body (the first chunk) is an error without `choices`; not billed"
    ),
    "empty_choices": FaultKind("break", "both", "HTTP 200 and `choices: []`, no finish reason at all; not billed"),
    "choice_error": FaultKind(
        "break", "whole", "HTTP 200, half the answer, finish `error` and `choices[0].error`; not billed"
    ),
    "malformed_body": FaultKind("break", "whole", "HTTP 200 and a body that is not JSON; billed"),
    "mid_stream_error": FaultKind(
        "break", "stream", "half the answer, then an error chunk (502), then the stream ends; not billed"
    ),
    "mid_stream_error_text": FaultKind(
        "break", "stream", 'as `mid_stream_error` with `code: "server_error"`, then `[DONE]`'
    ),
    "length_as_error": FaultKind(
        "break", "stream", "a cut-off as an error chunk: 400 `max_tokens_exceeded`; billed for what came"
    ),
    "cut_socket": FaultKind("break", "both", "the connection breaks in the middle of the answer, no `[DONE]`; billed"),
    "ends_early": FaultKind(
        "break", "stream", "half the answer, then a clean end: no finish reason, no usage, no `[DONE]`; billed"
    ),
    "no_done": FaultKind("break", "stream", "finish reason and usage come, `[DONE]` does not; billed"),
    "stall": FaultKind("break", "both", "after half the answer nothing more comes until the client leaves"),
    "malformed_chunk": FaultKind(
        "break", "stream", "one data line in the middle is broken JSON; the rest is whole; billed"
    ),
    # The answer itself.
    "length": FaultKind("alter", "both", "cut off half way, finish `length`"),
    "length_error_chunk": FaultKind(
        "alter", "stream", "as `length`, followed by an error chunk (400 `Token limit reached`) with `usage: {}`"
    ),
    "length_as_stop": FaultKind("alter", "both", "cut off half way, but finish `stop`, native finish `max_tokens`"),
    "reasoning_only": FaultKind("alter", "both", "reasoning ate the room: empty content, finish `length`"),
    "refusal": FaultKind("alter", "both", "the model declines: `message.refusal` and a polite text"),
    "content_filter": FaultKind("alter", "both", "cut off half way, finish `content_filter`"),
    "empty_insured": FaultKind("alter", "both", "no completion tokens and no finish reason: not billed"),
    "empty_billed": FaultKind("alter", "both", "no completion tokens but finish `stop`: the prompt is billed"),
    "fenced": FaultKind("alter", "both", "the answer inside a Markdown code fence"),
    "prose": FaultKind("alter", "both", "the answer with a sentence before and after it"),
    "trailing_comma": FaultKind("alter", "both", "a comma before the last closing bracket"),
    "schema_ignored": FaultKind("alter", "both", "a sentence of prose where JSON was asked for"),
    "tool_args_broken": FaultKind("alter", "both", "the tool call's `arguments` are cut-off JSON"),
    "tool_args_empty": FaultKind("alter", "both", "the tool call's `arguments` are an empty string"),
    # Spellings of a good answer.
    "null_finish": FaultKind("form", "both", "`finish_reason` is null, the native one is there"),
    "length_as_tool_calls": FaultKind("form", "both", "finish `length` is spelled `tool_calls`"),
    "undated_model": FaultKind("form", "both", "`model` is the id asked for, not the dated slug"),
    "no_usage": FaultKind("form", "both", "no `usage` at all; billed all the same"),
    "no_cost": FaultKind("form", "both", "`usage` without `cost` and `cost_details`; billed all the same"),
    "null_cost_details": FaultKind("form", "both", "`cost_details.upstream_inference_cost` is null"),
    "cache_hit": FaultKind(
        "form", "both", "OpenRouter's response cache answers: `X-OpenRouter-Cache-Status: HIT`, zero usage, free"
    ),
    "slow": FaultKind("form", "both", "the first token comes `slow` seconds later (see the options)"),
    "usage_on_finish": FaultKind("form", "stream", "the older usage chunk: a second finish chunk that carries `usage`"),
    "comments": FaultKind("form", "stream", "three comment lines before the first chunk and one between any two"),
    "crlf": FaultKind("form", "stream", "lines end in CR LF"),
    "split_utf8": FaultKind("form", "stream", "writes end in the middle of a multi-byte character and of a line"),
    "role_once": FaultKind("form", "stream", "`role` only in the first delta instead of in each"),
    "tool_args_fragments": FaultKind("form", "stream", "tool arguments arrive a few characters at a time"),
}


def applies(name: str, *, stream: bool) -> bool:
    """Whether a fault can happen to a streamed (or a whole) answer."""
    return FAULTS[name].on in ("both", "stream" if stream else "whole")
