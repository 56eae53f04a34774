"""The schemas of the OpenAPI document: what bodies must be, and what answers are."""

from __future__ import annotations

from collections.abc import Iterable

from cheapfirst.errors import RequestError
from cheapfirst.gateway.asked import LONGEST, OURS
from cheapfirst.messages import Wire
from cheapfirst.policy.checks import CHECKS
from cheapfirst.router.request import read_checks

_TEXT: Wire = {"type": "string"}
_MAYBE_TEXT: Wire = {"type": ["string", "null"]}
_WHOLE: Wire = {"type": "integer", "minimum": 0}


def schemas(tiers: Iterable[str]) -> dict[str, Wire]:
    """Each schema by its name; `tiers` are the policy's."""
    return {
        "Model": _model_name(),
        "Metadata": _metadata(says(tiers)),
        "ChatRequest": _chat_request(),
        "ChatAnswer": _chat_answer(),
        "ResponsesRequest": _responses_request(),
        "ResponsesTool": _object({"type": {"const": "function"}, "name": _TEXT}, optional={"parameters": {}}),
        "ResponsesItem": _responses_item(),
        "ResponsesPart": _responses_part(),
        "ResponsesAnswer": _responses_answer(),
        "MessagesRequest": _messages_request(),
        "MessagesAnswer": _messages_answer(),
        "Trail": _trail(),
        "Error": _error(),
        "MessagesError": _messages_error(),
        "ListedModel": _listed_model(),
        "ListedModels": _object({"object": {"const": "list"}, "data": _list(ref("ListedModel"))}),
        "Health": _object({"status": {"enum": ["ok", "draining"]}}),
    }


def ref(name: str) -> Wire:
    """Points to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Wire, *, optional: Wire | None = None, text: str = "") -> Wire:
    """An object whose `properties` are there always and whose `optional` ones may be; others may be too."""
    made: Wire = {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(optional or {})},
        "additionalProperties": True,
    }
    return {**made, "description": text} if text else made


def _list(of: Wire, *, least: int = 0) -> Wire:
    return {"type": "array", "items": of, "minItems": least} if least else {"type": "array", "items": of}


def _passed(text: str) -> Wire:
    """A field that the gateway does not check."""
    return {"description": f"{text} Passed through."}


def _model_name() -> Wire:
    return {
        "type": ["string", "null"],
        "description": "A task of the policy, `auto` (metadata.task or the default task decides; so does leaving it "
        "out), or a real model, which is then forced. GET /v1/models lists them.",
        "examples": ["auto"],
    }


def says(tiers: Iterable[str]) -> dict[str, Wire]:
    """What a request may say to us in its metadata, or in headers, by name."""
    check = "|".join(name for name in CHECKS if _bare(name))
    return {
        **{name: {"type": "string", "maxLength": LONGEST} for name in OURS},
        "tier": {"type": "string", "enum": ["", *tiers]},
        "checks": {"type": "string", "maxLength": LONGEST, "pattern": f"^(({check})(, ?({check}))*)?$"},
        "user_facing": {"type": "string", "enum": ["", "true", "false"]},
    }


def _bare(name: str) -> bool:
    """Whether a check needs no options."""
    try:
        read_checks([name], {})
    except RequestError:
        return False
    return True


def _metadata(ours: dict[str, Wire]) -> Wire:
    return {
        "type": ["object", "null"],
        "properties": {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in ours.items()},
        "additionalProperties": True,
        "description": "What the request is for. These names are read and taken out; others pass through.",
    }


def _shared() -> Wire:
    """Fields of chat completions and Responses alike."""
    return {
        "model": ref("Model"),
        "metadata": ref("Metadata"),
        "stream": {"type": ["boolean", "null"], "description": "Answer with server-sent events."},
        "user": _passed("Stands in for metadata.tenant when that is absent."),
        "prompt_cache_key": _passed("Stands in for metadata.session when that is absent."),
        "temperature": _passed("Sampling temperature."),
        "top_p": _passed("Nucleus sampling."),
        "seed": _passed("Seed."),
        "parallel_tool_calls": _passed("Whether several tools may be called at once."),
    }


def _chat_request() -> Wire:
    most: Wire = {"type": ["integer", "null"], "minimum": 1}
    return _object(
        {"messages": _list(_object({"role": _TEXT}, optional={"content": _passed("Text or parts.")}), least=1)},
        optional={
            **_shared(),
            "max_tokens": most,
            "max_completion_tokens": most,
            "response_format": _passed("json_schema, json_object or text; the answer is checked against the schema."),
            "tools": _passed("Function tools."),
            "tool_choice": _passed("auto, none, required, or a function."),
            "stop": _passed("Where to stop."),
            "n": _passed("How many choices; the first one is judged."),
            "logprobs": _passed("Whether to return log probabilities."),
            "stream_options": _passed("include_usage asks for a last chunk with the usage."),
        },
        text="A chat completion. Fields not named here pass through.",
    )


def _chat_answer() -> Wire:
    choice = _object(
        {"message": _object({}, optional={"role": _TEXT, "content": {}, "tool_calls": {}})},
        optional={"index": _WHOLE, "finish_reason": _MAYBE_TEXT},
    )
    return _object(
        {"model": _TEXT, "choices": _list(choice), "cheapfirst": ref("Trail")},
        optional={"id": _TEXT, "object": _TEXT, "created": {"type": "number"}, "usage": {}},
        text="The upstream's chat completion; `model` is the model that answered.",
    )


def _responses_request() -> Wire:
    choices: Wire = {"enum": ["auto", "none", "required", None]}
    words: Wire = {"not": {"required": ["type"], "properties": {"type": {"const": "reasoning"}}}}
    return _object(
        {"input": {"anyOf": [_TEXT, {**_list(ref("ResponsesItem"), least=1), "contains": words}]}},
        optional={
            **_shared(),
            "instructions": {**_MAYBE_TEXT, "description": "Stands before the input, as a system message."},
            "max_output_tokens": {"type": ["integer", "null"], "minimum": 1},
            "tools": {"type": ["array", "null"], "items": ref("ResponsesTool")},
            "tool_choice": {"anyOf": [choices, _object({"type": {"const": "function"}, "name": _TEXT})]},
            "text": {"type": ["object", "null"], "properties": {"format": _text_format()}},
            "reasoning": {"type": ["object", "null"], "properties": {"effort": _passed("How much to think.")}},
            "include": {"type": ["array", "null"]},
            "store": {"description": "Nothing is ever stored; the answer says false."},
            "background": {"enum": [False, None]},
            "previous_response_id": {"type": "null", "description": "Nothing is stored: send the earlier items."},
            "conversation": {"type": "null", "description": "Nothing is stored."},
            "prompt": {"type": "null", "description": "Nothing is stored."},
        },
        text="A request of the Responses protocol. Fields not named here pass through.",
    )


def _text_format() -> Wire:
    plain = _object({"type": {"enum": ["text", "json_object"]}})
    return {"anyOf": [plain, _object({"type": {"const": "json_schema"}, "schema": {"type": "object"}})]}


def _responses_item() -> Wire:
    content: Wire = {"anyOf": [_TEXT, _list(ref("ResponsesPart"))]}
    call: Wire = {"call_id": _TEXT, "name": _TEXT, "arguments": _TEXT}
    return {
        "anyOf": [
            _object(
                {"role": {"enum": ["user", "assistant", "system", "developer"]}, "content": content},
                optional={"type": {"const": "message"}},
            ),
            _object({"type": {"const": "function_call"}, **call}),
            _object({"type": {"const": "function_call_output"}, "call_id": _TEXT, "output": content}),
            _object({"type": {"const": "reasoning"}}, optional={"encrypted_content": {}, "summary": {}}),
        ],
        "description": "A message, or what an earlier answer's output had.",
    }


def _responses_part() -> Wire:
    return {
        "anyOf": [
            _object({"type": {"enum": ["input_text", "output_text"]}, "text": _TEXT}),
            _object({"type": {"const": "refusal"}, "refusal": _TEXT}),
            _object({"type": {"const": "input_image"}, "image_url": _TEXT}, optional={"file_id": {"type": "null"}}),
            _object({"type": {"const": "input_file"}, "file_data": _TEXT}, optional={"file_id": {"type": "null"}}),
        ],
        "description": "Text, an image, a file. Parts of chat completions pass through.",
    }


def _responses_answer() -> Wire:
    return _object(
        {
            "id": _TEXT,
            "object": {"const": "response"},
            "created_at": {"type": "number"},
            "status": {"enum": ["completed", "incomplete", "failed"]},
            "model": _TEXT,
            "output": _list(_object({"id": _TEXT, "type": {"enum": ["message", "reasoning", "function_call"]}})),
            "error": {"type": ["object", "null"]},
            "incomplete_details": {"type": ["object", "null"]},
            "usage": {"type": ["object", "null"]},
            "store": {"const": False},
            "cheapfirst": ref("Trail"),
        }
    )


def _messages_request() -> Wire:
    return _object(
        {
            "messages": _list(_object({"role": _TEXT, "content": {}}), least=1),
            "max_tokens": {"type": "integer", "minimum": 1},
        },
        optional={
            "model": ref("Model"),
            "metadata": {},
            "stream": {"type": ["boolean", "null"]},
            "system": {},
            "tools": {},
            "tool_choice": {},
        },
        text="A request of Anthropic's Messages protocol.",
    )


def _messages_answer() -> Wire:
    return _object(
        {
            "id": _TEXT,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": _TEXT,
            "content": _list(_object({"type": _TEXT})),
            "stop_reason": _MAYBE_TEXT,
            "usage": {"type": "object"},
        },
        optional={"cheapfirst": ref("Trail")},
    )


def _trail() -> Wire:
    amount: Wire = {"type": ["number", "null"], "description": "USD; null means unknown."}
    attempt = _object(
        {
            "number": {"type": "integer", "minimum": 1},
            "on": {"enum": ["start", "retry", "downgrade", "cut-off", "fault", "re-ask", "reject"]},
            "tier": _TEXT,
            "model": _TEXT,
            "provider": _MAYBE_TEXT,
            "generation_id": _MAYBE_TEXT,
            "outcome": {"enum": ["answer", "cut-off", "refusal", "fault", "doomed"]},
            "cost": amount,
            "duration": {"type": "number", "minimum": 0, "description": "Seconds."},
        },
        optional={
            "accepted": {"type": "boolean"},
            "reasons": _list(_TEXT),
            "fault": _TEXT,
            "parse": _list(_TEXT),
        },
    )
    return _object(
        {"request_id": _TEXT, "task": _TEXT, "cost": amount, "attempts": _list(attempt)},
        optional={
            "tier": _TEXT,
            "model": _TEXT,
            "accepted": {"type": "boolean"},
            "escalated": {"type": "boolean"},
            "forced": {"type": "boolean"},
            "baseline": amount,
            "saved": amount,
            "policy": _TEXT,
        },
        text="How the answer came to be, attempt by attempt.",
    )


def _error() -> Wire:
    return _object(
        {
            "error": _object(
                {
                    "message": {**_TEXT, "description": "What happened and what to do."},
                    "type": _TEXT,
                    "param": {**_MAYBE_TEXT, "description": "The field that is wrong."},
                    "code": {**_TEXT, "description": "Stable and machine-readable."},
                },
                optional={"request_id": _TEXT},
            )
        },
        optional={"cheapfirst": ref("Trail")},
    )


def _messages_error() -> Wire:
    return _object(
        {"type": {"const": "error"}, "error": _object({"type": _TEXT, "message": _TEXT})},
        optional={"request_id": _MAYBE_TEXT, "cheapfirst": ref("Trail")},
    )


def _listed_model() -> Wire:
    return _object({"id": _TEXT, "object": {"const": "model"}, "created": _WHOLE, "owned_by": _TEXT})
