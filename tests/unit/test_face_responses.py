"""The Responses protocol on paper: requests into chat completions, chat completions into responses and events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.gateway import chat
from cheapfirst.gateway.faces import responses
from cheapfirst.gateway.faces.responses.details import pack, unpack
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Wire

ID = "req_01jd5zk7x800000000000000ab"


def read(**body: Any) -> Wire:
    return responses.read({"model": "extract", "input": "Hi", **body})


def refused(**body: Any) -> Problem:
    with pytest.raises(Refused) as caught:
        read(**body)
    assert caught.value.problem.status == 400
    return caught.value.problem


def test_a_text_becomes_one_user_message_behind_the_instructions() -> None:
    assert read(instructions="Be brief.")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_the_items_of_one_turn_become_one_assistant_message() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]
    wire = read(
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": pack(details)},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "sun"},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "rain"}]},
        ]
    )
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    assert wire["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "a", **call}, {"id": "b", **call}],
            "reasoning_details": details,
        },
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
        {"role": "tool", "tool_call_id": "b", "content": "rain"},
    ]


def test_images_and_files_keep_what_else_they_say() -> None:
    (message,) = read(
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low", "x": 1},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                ],
            }
        ]
    )["messages"]
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}, "x": 1},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


def test_fields_of_both_protocols_and_unknown_ones_survive() -> None:
    shared = {"temperature": 0.5, "top_p": 0.9, "metadata": {"task": "t"}, "user": "u", "prompt_cache_key": "k"}
    wire = read(**shared, seed=7, provider={"order": ["a"]}, stream=True, store=True, truncation="auto")
    assert {name: wire[name] for name in shared} == shared
    assert (wire["seed"], wire["provider"], wire["stream"]) == (7, {"order": ["a"]}, True)
    assert not {"store", "truncation", "input"} & wire.keys()


def test_options_are_spelled_as_chat_completions_spells_them() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    wire = read(
        max_output_tokens=99,
        reasoning={"effort": "low", "summary": "auto"},
        text={
            "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
            "verbosity": "low",
        },
        include=["message.output_text.logprobs"],
        tools=[{"type": "function", "name": "f", "parameters": schema, "strict": None}],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
    )
    assert wire["max_tokens"] == 99
    assert wire["reasoning_effort"] == "low"
    assert wire["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert wire["verbosity"] == "low"
    assert wire["logprobs"] is True
    assert wire["tools"] == [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert wire["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert wire["parallel_tool_calls"] is False


@pytest.mark.parametrize("background", [True, {}, 0, "", "true"])
def test_only_false_is_no_background(background: Any) -> None:
    assert refused(background=background).param == "background"
    assert "background" not in read(background=False)


def test_allowed_tools_leave_the_others_out() -> None:
    tools: list[Wire] = [{"type": "function", "name": name, "parameters": {}} for name in ("a", "b")]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "b"}]}
    wire = read(tools=tools, tool_choice=allowed)
    assert [tool["function"]["name"] for tool in wire["tools"]] == ["b"]
    assert wire["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "unsupported_tool", "tools[0]"),
        ({"tool_choice": {"type": "mcp"}}, "unsupported_tool", "tool_choice"),
        ({"previous_response_id": "resp_1"}, "not_stored", "previous_response_id"),
        ({"conversation": "c"}, "not_stored", "conversation"),
        ({"prompt": {"id": "p"}}, "not_stored", "prompt"),
        ({"background": True}, "unsupported_value", "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "not_stored", "input[0]"),
        ({"input": [{"type": "computer_call"}]}, "unsupported_item", "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "not_stored", None),
        ({"input": None}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "invalid_value", "input"),
        ({"max_output_tokens": "many"}, "invalid_value", "max_output_tokens"),
        ({"text": {"format": {"type": "grammar"}}}, "invalid_value", "text.format.type"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(body: Wire, code: str, param: str | None) -> None:
    problem = refused(**body)
    assert problem.code == code
    assert param is None or problem.param == param


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "function",
        "user",
        "assistant",
        "input_text",
        "output_text",
        "refusal",
        "input_image",
        "input_file",
        "json_schema",
        "allowed_tools",
        "cheapfirst:1:!",
        "a",
    ]
)
NAMES = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "call_id",
        "name",
        "arguments",
        "output",
        "encrypted_content",
        "image_url",
        "file_data",
        "format",
        "schema",
        "effort",
        "mode",
        "tools",
        "refusal",
        "function",
        "detail",
        "verbosity",
    ]
)
ODD = st.recursive(
    JSONS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
FIELDS = ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "max_output_tokens"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "background", "prompt", "top_logprobs", "metadata"]), ODD))
def test_odd_requests_are_read_or_refused(body: Wire) -> None:
    try:
        wire = responses.read(body)
    except Refused as error:
        problem: Problem | None = error.problem
    else:
        problem = None
        assert wire["messages"]
        assert all(isinstance(message["role"], str) for message in wire["messages"])
    assert problem is None or (problem.status == 400 and problem.param)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "model", "id", "cheapfirst"]), ODD), ODD)
def test_odd_answers_still_make_a_response(answer: Wire, message: Any) -> None:
    for choices in (answer.get("choices"), [{"index": 0, "message": message, "finish_reason": "stop"}]):
        told = responses.whole({**answer, "choices": choices}, {}, ID)
        assert told["object"] == "response"
    events = responses.Events({}, ID)
    events.feed(answer)
    events.feed({"choices": [{"delta": message, "index": 0}]})
    assert _events(events.end())[-1]["type"].startswith("response.")


@given(st.lists(JSONS, min_size=1, max_size=4))
def test_reasoning_details_come_back_as_they_went(details: list[Any]) -> None:
    assert unpack(pack(details)) == details


@pytest.mark.parametrize("text", [None, 3, "gAAAA", "cheapfirst:1:!", "cheapfirst:1:e30=", "cheapfirst:1:äöü"])
def test_reasoning_of_other_servers_is_left_out(text: object) -> None:
    assert unpack(text) == []


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text("abc", min_size=1, max_size=4).map("call_".__add__),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text("xyz", min_size=1), "arguments": st.text()}),
        }
    ),
    max_size=3,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | st.text(min_size=1)},
    optional={
        "reasoning": st.text(min_size=1),
        "reasoning_details": st.lists(
            st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": st.text(max_size=5)}), max_size=2
        ),
        "refusal": st.text(min_size=1),
        "tool_calls": CALLS,
        "images": st.lists(st.just({"type": "image_url"}), min_size=1, max_size=2),
    },
)
ANSWERS = st.builds(
    lambda message, finish, usage: {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m/served",
        "provider": "P",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        **({"usage": usage} if usage else {}),
        "cheapfirst": {"tier": "cheap"},
    },
    MESSAGES,
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.none() | st.fixed_dictionaries({"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99)}),
)


@given(ANSWERS, st.data())
def test_any_chunking_of_an_answer_gives_the_response_that_the_whole_gives(answer: Wire, data: st.DataObject) -> None:
    asked = {"model": "extract", "input": "Hi", "stream": True}
    events = responses.Events(asked, ID)
    said = b"".join(events.feed(chunk) for chunk in _chunked(answer, data))
    told = _events(said + events.end())
    whole = json.loads(json.dumps(responses.whole(answer, asked, ID)))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    assert told[-1]["type"] == f"response.{whole['status']}"
    assert told[-1]["response"] == whole
    assert _assembled(told) == whole["output"]


def test_a_fault_inside_a_stream_ends_it_as_failed() -> None:
    events = responses.Events({"model": "extract"}, ID)
    events.feed({"model": "m", "choices": [{"index": 0, "delta": {"content": "Half"}}]})
    problem = Problem(status=502, code="upstream_stalled", message="It stalled.", trail={"cost": None})
    error, failed = _events(events.fail(problem))
    assert (error["type"], error["code"], error["message"]) == ("error", "upstream_stalled", "It stalled.")
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["message"] == "It stalled."
    assert failed["response"]["output"][0]["content"][0]["text"] == "Half"
    assert failed["response"]["cheapfirst"] == {"cost": None}


def test_thinking_between_words_makes_items_of_its_own() -> None:
    events = responses.Events({}, ID)
    deltas: list[Wire] = [{"reasoning": "a"}, {"content": "b"}, {"reasoning": "c"}, {"content": "d"}]
    said = b"".join(events.feed({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas)
    output = _events(said + events.end())[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "reasoning", "message"]
    assert len({item["id"] for item in output}) == 4


def test_other_choices_are_not_mixed_in() -> None:
    events = responses.Events({}, ID)
    choices = [{"index": number, "delta": {"content": word}} for number, word in ((1, "no"), (0, "yes"), (2, "no"))]
    said = b"".join(events.feed({"choices": [choice]}) for choice in choices)
    (item,) = _events(said + events.end())[-1]["response"]["output"]
    assert item["content"][0]["text"] == "yes"


def _chunked(answer: Wire, data: st.DataObject) -> list[Wire]:
    """The answer's chunks with its texts cut anywhere, and calls told side by side."""
    made: list[Wire] = []
    for chunk in chat.chunks(answer):
        choice = (chunk.get("choices") or [{}])[0]
        delta = choice.get("delta") or {}
        if not delta:
            made.append(chunk)
            continue
        pieces: list[Wire] = [{"role": "assistant"}]
        for name in ("reasoning_details", "reasoning", "content", "refusal", "images"):
            value = delta.get(name)
            if isinstance(value, str):
                pieces += [{name: part} for part in _cut(value, data)]
            elif value:
                pieces += [{name: [one]} for one in value] if name == "images" else [{name: value}]
        calls = delta.get("tool_calls") or []
        for call in calls:
            pieces.append({"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]})
        rests = [
            {"tool_calls": [{"index": call["index"], "function": {"arguments": part}}]}
            for call in calls
            for part in _cut(call["function"]["arguments"], data)
        ]
        order = data.draw(st.permutations(range(len(calls)))) if calls else []
        for index in order:
            pieces += [rest for rest in rests if rest["tool_calls"][0]["index"] == index]
        made += [{**chunk, "choices": [{**choice, "delta": piece}]} for piece in pieces]
    return made


def _cut(text: str, data: st.DataObject) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def _events(said: bytes) -> list[Wire]:
    made = []
    for block in said.decode().split("\n\n")[:-1]:
        name, _, data = block.partition("\ndata: ")
        event = json.loads(data)
        assert name == f"event: {event['type']}"
        made.append(event)
    return made


def _assembled(events: list[Wire]) -> list[Wire]:
    """The output as a client that reads only the small events puts it together."""
    items: dict[int, Wire] = {}
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(items)
            items[event["output_index"]] = event["item"]
        elif kind == "response.output_item.done":
            mine, told = items[event["output_index"]], event["item"]
            grown = {name: mine[name] for name in ("content", "arguments", "summary") if name in mine}
            assert grown == {name: told[name] for name in grown}
            items[event["output_index"]] = told
        elif "item_id" in event:
            item = items[event["output_index"]]
            assert item["id"] == event["item_id"]
            _grow(item, kind.removeprefix("response."), event)
    return [items[index] for index in sorted(items)]


def _grow(item: Wire, kind: str, event: Wire) -> None:
    if kind == "content_part.added":
        item["content"].append(event["part"])
    elif kind == "output_text.delta":
        item["content"][event["content_index"]]["text"] += event["delta"]
    elif kind == "refusal.delta":
        item["content"][event["content_index"]]["refusal"] += event["delta"]
    elif kind == "function_call_arguments.delta":
        item["arguments"] += event["delta"]
    elif kind == "reasoning_summary_part.added":
        item["summary"].append(event["part"])
    elif kind == "reasoning_summary_text.delta":
        item["summary"][event["summary_index"]]["text"] += event["delta"]
    elif kind == "content_part.done":
        assert item["content"][event["content_index"]] == event["part"]
    elif kind == "output_text.done":
        assert item["content"][event["content_index"]]["text"] == event["text"]
    elif kind == "function_call_arguments.done":
        assert item["arguments"] == event["arguments"]
