"""The catalogue and account pages: models, their endpoints, a generation, the key, the credits."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from cheapfirst.messages import Wire
from cheapfirst.simulator.books import Bill, Books, Entry
from cheapfirst.simulator.models import SimModel
from cheapfirst.simulator.wire import money

_MILLION = Decimal(1_000_000)


def _price(per_mtok: Decimal | None) -> str:
    return "0" if not per_mtok else f"{(per_mtok / _MILLION).normalize():f}"


def pricing(model: SimModel) -> Wire:
    """Prices as the wire has them: strings, USD per token."""
    made: Wire = {
        "prompt": _price(model.input),
        "completion": _price(model.output),
        "request": f"{model.request:f}",
        "image": "0",
        "internal_reasoning": "0",
        "input_cache_read": _price(model.input if model.cache_read is None else model.cache_read),
        "input_cache_write": _price(model.input if model.cache_write is None else model.cache_write),
    }
    if model.overrides:
        made["overrides"] = [_override(each) for each in model.overrides]
    return made


def _override(override: Any) -> Wire:
    names = {
        "input": "prompt",
        "output": "completion",
        "cache_read": "input_cache_read",
        "cache_write": "input_cache_write",
    }
    made: Wire = {}
    for name in ("min_prompt_tokens", "utc_start", "utc_end"):
        if getattr(override, name) is not None:
            made[name] = getattr(override, name)
    for name, told in names.items():
        if getattr(override, name) is not None:
            made[told] = _price(getattr(override, name))
    return made


def model_entry(model: SimModel) -> Wire:
    """One model as `/models` lists it."""
    inputs = list(model.input_modalities)
    return {
        "id": model.id,
        "canonical_slug": model.slug,
        "name": f"{model.id} (simulated)",
        "created": 1767225600,
        "description": "Simulated: answers are made up in code or recorded.",
        "context_length": model.context,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->text",
            "input_modalities": inputs,
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": pricing(model),
        "top_provider": {
            "context_length": model.context,
            "max_completion_tokens": model.max_output,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(model.supported_parameters),
        "default_parameters": None,
        "expiration_date": None,
        "knowledge_cutoff": None,
        "hugging_face_id": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
        "simulated": True,
    }


def models_page(models: list[SimModel], offset: int, limit: int) -> Wire:
    """`GET /models`."""
    shown = models[offset : offset + limit]
    return {
        "data": [model_entry(model) for model in shown],
        "total_count": len(models),
        "links": {"next": None},
        "simulated": True,
    }


def endpoints_page(model: SimModel) -> Wire:
    """`GET /models/{author}/{slug}/endpoints`: one endpoint for each host."""
    entry = model_entry(model)
    endpoint: Wire = {
        "name": f"{model.provider_name} | {model.slug}",
        "model_id": model.id,
        "model_name": entry["name"],
        "provider_name": model.provider_name,
        "tag": model.provider.lower().replace(" ", "-"),
        "context_length": model.context,
        "max_completion_tokens": model.max_output,
        "max_prompt_tokens": None,
        "pricing": entry["pricing"],
        "quantization": "unknown",
        "supported_parameters": entry["supported_parameters"],
        "supports_implicit_caching": model.caching.mode == "automatic",
        "status": 0,
        "uptime_last_5m": 100,
        "uptime_last_30m": 100,
        "uptime_last_1d": 100,
        "latency_last_30m": None,
        "throughput_last_30m": None,
    }
    data = {name: entry[name] for name in ("id", "name", "created", "description", "architecture")}
    return {"data": {**data, "endpoints": [endpoint] * model.hosts}, "simulated": True}


def generation_page(entry: Entry) -> Wire:
    """`GET /generation?id=`."""
    bill = entry.bill
    created = datetime.datetime.fromtimestamp(entry.created, datetime.UTC).isoformat()
    data: Wire = {
        "id": entry.id,
        "model": entry.canonical,
        "provider_name": entry.provider,
        "streamed": entry.streamed,
        "cancelled": entry.cancelled,
        "created_at": created,
        "finish_reason": entry.finish,
        "native_finish_reason": entry.native_finish,
        "latency": round(entry.latency * 1000),
        "generation_time": round(entry.duration * 1000),
        "moderation_latency": None,
        "tokens_prompt": bill.prompt,
        "tokens_completion": bill.completion,
        "native_tokens_prompt": bill.prompt,
        "native_tokens_completion": bill.completion,
        "native_tokens_reasoning": bill.reasoning,
        "native_tokens_cached": bill.cached,
        "total_cost": money(bill.cost),
        "usage": money(bill.cost),
        "upstream_inference_cost": _upstream(bill),
        "cache_discount": None,
        "is_byok": bill.byok,
        "provider_responses": [{"provider_name": entry.provider, "status": 200}],
        "router": None,
        "session_id": entry.session,
        "service_tier": None,
        "api_type": "completions",
    }
    return {"data": data, "simulated": True}


def _upstream(bill: Bill) -> Any:
    return None if bill.recorded else money(bill.upstream)


def key_page(books: Books, limit: Decimal | None) -> Wire:
    """`GET /key`. All spending is of today: the simulator forgets when it stops."""
    used = money(books.total.cost)
    remaining = None if limit is None else money(int(limit * 10**12) - books.total.cost)
    data: Wire = {
        "label": "sk-or-v1-simulated",
        "limit": None if limit is None else money(int(limit * 10**12)),
        "limit_remaining": remaining,
        "limit_reset": None,
        "include_byok_in_limit": False,
        "usage": used,
        "usage_daily": used,
        "usage_weekly": used,
        "usage_monthly": used,
        "byok_usage": money(books.total.upstream if books.total.spent != books.total.cost else 0),
        "is_free_tier": False,
        "is_management_key": True,
        "expires_at": None,
    }
    return {"data": data, "simulated": True}


def credits_page(books: Books, limit: Decimal | None) -> Wire:
    """`GET /credits`. An unlimited account shows what it used as its total."""
    used = books.total.cost
    total = used if limit is None else int(limit * 10**12)
    return {"data": {"total_credits": money(total), "total_usage": money(used)}, "simulated": True}


def activity_page(books: Books, date: str | None) -> Wire:
    """`GET /activity`: what each model and provider did each UTC day. Unlike OpenRouter it shows today too: the
    simulator forgets when it stops."""
    days: dict[tuple[str, str, str, str], list[Bill]] = {}
    for entry in books.entries.values():
        day = datetime.datetime.fromtimestamp(entry.created, datetime.UTC).date().isoformat()
        if entry.closed and date in (None, day):
            days.setdefault((day, entry.model, entry.canonical, entry.provider), []).append(entry.bill)
    rows = [
        {
            "date": day,
            "model": model,
            "model_permaslug": canonical,
            "endpoint_id": f"simulated-{provider.lower().replace(' ', '-')}",
            "provider_name": provider,
            "usage": money(sum(bill.cost for bill in bills)),
            "byok_usage_inference": money(sum(bill.upstream for bill in bills if bill.byok)),
            "requests": len(bills),
            "prompt_tokens": sum(bill.prompt for bill in bills),
            "completion_tokens": sum(bill.completion for bill in bills),
            "reasoning_tokens": sum(bill.reasoning for bill in bills),
        }
        for (day, model, canonical, provider), bills in sorted(days.items())
    ]
    return {"data": rows, "simulated": True}
