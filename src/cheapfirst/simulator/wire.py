"""Bodies and chunks as OpenRouter spells them. Every one says that it is simulated."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator.books import Bill, plain
from cheapfirst.simulator.failures import Failure
from cheapfirst.simulator.generation import Generation
from cheapfirst.simulator.models import SimModel

USER = "user_simulated"


class Served(Struct, frozen=True, kw_only=True):
    """A generation on its way: everything that its body or chunks are made of."""

    id: str
    created: int  # Unix seconds
    model: SimModel
    generation: Generation
    bill: Bill
    faults: frozenset[str] = frozenset()
    usage: Wire | None = None  # recorded usage, served as it is; absent: made from the bill
    metadata: Wire | None = None  # `openrouter_metadata`; absent: not asked for

    @property
    def finish(self) -> str | None:
        """The finish reason as the wire spells it."""
        if "null_finish" in self.faults:
            return None
        finish = self.generation.finish
        return "tool_calls" if finish == "length" and "length_as_tool_calls" in self.faults else finish


def encode(body: Wire) -> bytes:
    """JSON, money with its exact digits."""
    return msgspec.json.encode(body)


def money(pico: int) -> msgspec.Raw:
    """Picodollars as a JSON number with at most twelve decimals and no exponent."""
    return msgspec.Raw(plain(pico).encode())


def usage(served: Served) -> Wire | None:
    """The `usage` object; None when the fault `no_usage` hides it."""
    if "no_usage" in served.faults:
        return None
    bill = Bill() if "cache_hit" in served.faults else served.bill
    made: Wire = {
        "prompt_tokens": bill.prompt,
        "completion_tokens": bill.completion,
        "total_tokens": bill.prompt + bill.completion,
        "cost": money(bill.cost),
        "is_byok": bill.byok,
        "prompt_tokens_details": {
            "cached_tokens": bill.cached,
            "cache_write_tokens": bill.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "cost_details": _cost_details(served, bill),
        "completion_tokens_details": {"reasoning_tokens": bill.reasoning, "image_tokens": 0, "audio_tokens": 0},
    }
    if served.usage is not None:
        made = {**made, **served.usage, "cost": money(bill.cost)}
    if "no_cost" in served.faults:
        return {name: value for name, value in made.items() if name not in ("cost", "cost_details", "is_byok")}
    return made


def _cost_details(served: Served, bill: Bill) -> Wire:
    if "null_cost_details" in served.faults or bill.recorded:
        return {"upstream_inference_cost": None}
    return {
        "upstream_inference_cost": money(bill.upstream),
        "upstream_inference_prompt_cost": money(bill.upstream_prompt),
        "upstream_inference_completions_cost": money(bill.upstream_completion),
    }


def head(served: Served, kind: str) -> Wire:
    """What every body and chunk of a generation begins with."""
    model = served.model
    return {
        "id": served.id,
        "object": kind,
        "created": served.created,
        "model": model.id if "undated_model" in served.faults else model.slug,
        "provider": model.provider_name,
        "simulated": True,
    }


def body(served: Served) -> Wire:
    """The answer to a request that is not streamed."""
    faults = served.faults
    whole = {**head(served, "chat.completion"), "system_fingerprint": None, "service_tier": None}
    if "200_error_body" in faults:
        return {"error": provider_error(served.model), "user_id": USER, "simulated": True}
    choice: Wire = {
        "index": 0,
        "logprobs": None,
        "finish_reason": served.finish,
        "native_finish_reason": served.generation.native_finish,
        "message": served.generation.message,
    }
    if "choice_error" in faults:
        content = served.generation.message.get("content") or ""
        choice["message"] = {**served.generation.message, "content": content[: len(content) // 2]}
        choice |= {"finish_reason": "error", "native_finish_reason": None, "error": provider_error(served.model)}
    whole["choices"] = [] if "empty_choices" in faults else [choice]
    counted = usage(served)
    if counted is not None:
        whole["usage"] = counted
    return with_metadata(whole, served.metadata)


def chunk(served: Served, delta: Wire, *, finish: bool = False, first: bool = False) -> Wire:
    """One chunk of a streamed answer."""
    role = {} if "role_once" in served.faults and not first else {"role": "assistant"}
    choice = {
        "index": 0,
        "delta": {"content": "", **delta, **role},
        "finish_reason": served.finish if finish else None,
        "native_finish_reason": served.generation.native_finish if finish else None,
        "logprobs": None,
    }
    return {**head(served, "chat.completion.chunk"), "choices": [choice]}


def usage_chunk(served: Served) -> Wire | None:
    """The last chunk: no choices (or, in the older form, the finish again) and the usage; None: there is none."""
    counted = usage(served)
    if counted is None and served.metadata is None:
        return None
    older = "usage_on_finish" in served.faults
    last = chunk(served, {}, finish=True) if older else {**head(served, "chat.completion.chunk"), "choices": []}
    return with_metadata({**last, **({"usage": counted} if counted is not None else {})}, served.metadata)


def error_chunk(served: Served, error: Wire, **more: Any) -> Wire:
    """An error in the middle of a stream."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": None}
    return {**head(served, "chat.completion.chunk"), "error": error, "choices": [choice], **more}


def provider_error(model: SimModel, code: int | str = 502) -> Wire:
    """The error of a provider that fell over while it answered."""
    metadata = {
        "error_type": "provider_unavailable",
        "provider_code": "disconnected",
        "provider_name": model.provider_name,
    }
    return {"code": code, "message": "Provider disconnected", "metadata": metadata}


def error_body(made: Failure, metadata: Wire | None = None) -> Wire:
    """The body of an error before the first token."""
    return with_metadata({"error": made.error, "user_id": USER, "simulated": True}, metadata)


def with_metadata(whole: Wire, metadata: Wire | None) -> Wire:
    """The body with `openrouter_metadata` when it was asked for."""
    return whole if metadata is None else {**whole, "openrouter_metadata": metadata}


def router_metadata(asked: str, attempts: list[Wire], served: SimModel | None, *, byok: bool) -> Wire:
    """What the router did: every attempt with its status, and who was chosen."""
    chosen = len(attempts) if served is not None else 0
    available = [
        {"provider": entry["provider"], "model": entry["model"], "selected": index == chosen}
        for index, entry in enumerate(attempts, 1)
    ]
    return {
        "requested": asked,
        "strategy": "fallback" if len(attempts) > 1 else "direct",
        "region": "local",
        "summary": f"available={len(attempts)}",
        "attempt": chosen,
        "is_byok": byok,
        "endpoints": {"total": len(attempts), "available": available},
        "attempts": attempts,
        "pipeline": [],
    }
