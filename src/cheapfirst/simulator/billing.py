"""What an answer is billed: in full, in part, not at all, or as it was recorded."""

from __future__ import annotations

import msgspec

from cheapfirst import money
from cheapfirst.messages import Wire
from cheapfirst.simulator import generation, pricing, replay
from cheapfirst.simulator.books import Bill
from cheapfirst.simulator.cache import Split
from cheapfirst.simulator.models import SimModel
from cheapfirst.simulator.options import Options

_UNBILLED = frozenset({"200_error_body", "empty_choices", "choice_error", "mid_stream_error", "mid_stream_error_text",
                       "empty_insured", "cache_hit"})  # fmt: skip


def of_answer(
    model: SimModel, prompt: int, made: generation.Generation, split: Split, faults: frozenset[str], options: Options
) -> Bill:
    """The bill of an answer to a prompt of so many tokens, as its faults leave it."""
    if faults & _UNBILLED:
        return Bill(byok=options.byok)
    return pricing.bill(
        model,
        prompt=prompt,
        completion=made.completion,
        cached=min(split.cached, prompt),
        written=min(split.written, prompt),
        reasoning=made.reasoning,
        byok_fee=options.byok_fee if options.byok else None,
    )


def of_recording(
    model: SimModel,
    prompt: int,
    made: generation.Generation,
    recording: replay.Recording,
    faults: frozenset[str],
    options: Options,
) -> Bill:
    """The bill of a recorded answer: as recorded, and computed where the recording does not say."""
    usage: Wire = recording.usage or {}
    details: Wire = usage.get("prompt_tokens_details") or {}
    split = Split(details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0)
    counted = of_answer(model, usage.get("prompt_tokens", prompt), made, split, faults, options)
    cost = recording.reported_cost()
    if cost is None or faults & _UNBILLED:
        return counted
    pico = money.to_pico(money.usd(cost)) or 0
    return msgspec.structs.replace(
        counted, cost=pico, upstream_prompt=0, upstream_completion=0, byok=False, recorded=True
    )


def partial(model: SimModel, whole: Bill, spent: int, faults: frozenset[str], options: Options) -> Bill:
    """The bill of a stream that broke off after `spent` completion tokens, where `whole` is the bill of all of it."""
    if whole.recorded or faults & _UNBILLED or not model.cancel_stops_billing:
        return whole
    return pricing.bill(
        model,
        prompt=whole.prompt,
        completion=min(spent, whole.completion),
        cached=whole.cached,
        written=whole.written,
        reasoning=min(whole.reasoning, spent),
        byok_fee=options.byok_fee if options.byok else None,
    )
