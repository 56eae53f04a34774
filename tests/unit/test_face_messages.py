"""The Messages protocol on paper: requests into chat completions, chat completions into messages and events."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.gateway import chat
from cheapfirst.gateway.faces import messages
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.messages import Wire

ID = "req_01jd5zk7x800000000000000ab"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def read(**body: Any) -> Wire:
    return messages.read({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **body})


def refused(**body: Any) -> Problem:
    with pytest.raises(Refused) as caught:
        read(**body)
    assert caught.value.problem.status == 400
    return caught.value.problem


def test_a_plain_request_keeps_its_fields_and_unknown_ones() -> None:
    wire = read(system="Be brief.", stop_sequences=["X"], temperature=0, top_k=3, provider={"sort": "price"})
    assert wire == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stop": ["X"],
        "temperature": 0,
        "top_k": 3,
        "provider": {"sort": "price"},
    }


def test_cache_marks_stay_on_their_parts() -> None:
    mark = {"type": "ephemeral"}
    wire = read(
        system=[{"type": "text", "text": "Long.", "cache_control": mark}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    )
    assert wire["messages"][0]["content"] == [{"type": "text", "text": "Long.", "cache_control": mark}]
    assert wire["messages"][1]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


def test_images_and_documents_become_parts() -> None:
    wire = read(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    {"type": "document", "title": "t.pdf", "source": {"type": "url", "url": "https://example.com/t"}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                ],
            }
        ]
    )
    assert wire["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "t.pdf", "file_data": "https://example.com/t"}},
        {"type": "text", "text": "words"},
    ]


def test_tool_use_and_its_results_become_calls_and_tool_messages_before_the_users_words() -> None:
    wire = read(
        messages=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Köln"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "sun"}]},
                    {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ]
    )
    assistant, *rest = wire["messages"][1:]
    assert assistant["content"] == "I look."
    assert assistant["tool_calls"][0]["id"] == "a"
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
    assert rest == [
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
        {"role": "user", "content": "And now?"},
    ]


def test_tools_and_the_choice_among_them_are_translated() -> None:
    tool = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
    wire = read(tools=[tool], tool_choice={"type": "tool", "name": "look", "disable_parallel_tool_use": True})
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    assert wire["tools"] == [{"type": "function", "function": function}]
    assert wire["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert wire["parallel_tool_calls"] is False
    assert read(tools=[tool], tool_choice={"type": "any"})["tool_choice"] == "required"


def test_metadata_gives_the_user_and_leaves_our_own_keys() -> None:
    wire = read(metadata={"user_id": "u", "task": "extract"})
    assert wire["user"] == "u"
    assert wire["metadata"] == {"task": "extract"}


def test_thinking_and_a_wanted_format_are_translated() -> None:
    wire = read(
        thinking={"type": "enabled", "budget_tokens": 2048},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert wire["reasoning"] == {"max_tokens": 2048}
    assert wire["verbosity"] == "low"
    assert wire["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
    ],
)
def test_what_cannot_be_said_in_chat_completions_is_refused_by_name(body: Wire, param: str) -> None:
    assert refused(**body).param == param


def test_an_answer_has_thinking_text_and_tool_use_and_anthropics_count_of_tokens() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"}]
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"city": "Bonn"}'}}
    told = messages.whole(
        {
            "model": "x/y",
            "choices": [
                {
                    "finish_reason": "tool_calls",
                    "message": {
                        "content": "I look.",
                        "reasoning": "Hm.",
                        "reasoning_details": details,
                        "tool_calls": [call],
                    },
                }
            ],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
            },
            "cheapfirst": {"tier": "cheap"},
        },
        {},
        ID,
    )
    assert [block["type"] for block in told["content"]] == ["thinking", "text", "tool_use"]
    assert told["content"][2] == {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Bonn"}}
    assert told["stop_reason"] == "tool_use"
    assert told["usage"] == {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
    }
    assert told["cheapfirst"] == {"tier": "cheap"}
    again = read(messages=[{"role": "assistant", "content": told["content"]}])["messages"][0]
    assert again["reasoning_details"] == details
    assert again["content"] == "I look."


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"finish_reason": "stop"}, "end_turn"),
        ({"finish_reason": "stop", "native_finish_reason": "stop_sequence"}, "stop_sequence"),
        ({"finish_reason": "length"}, "max_tokens"),
        ({"finish_reason": "content_filter"}, "refusal"),
        ({"finish_reason": "stop", "message": {"refusal": "No."}}, "refusal"),
        ({"finish_reason": "error"}, "error"),
    ],
)
def test_how_an_answer_ended_is_said_in_the_protocols_words(choice: Wire, reason: str) -> None:
    assert messages.whole({"choices": [choice]}, {}, ID)["stop_reason"] == reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_shape_and_our_code(status: int, kind: str) -> None:
    told = messages.error(Problem(status=status, code="c", message="m", request_id=ID, trail={"attempts": []}))
    assert told["type"] == "error"
    assert told["request_id"] == ID
    assert told["error"] == {"type": kind, "message": "m", "code": "c", "param": None}
    assert told["cheapfirst"] == {"attempts": []}


def events(said: bytes) -> list[Wire]:
    made = []
    for event in said.decode().split("\n\n"):
        if event:
            kind, data = event.split("\n")
            made.append(json.loads(data.removeprefix("data: ")))
            assert kind == f"event: {made[-1]['type']}"
    return made


def assembled(told: list[Wire]) -> Wire:
    """The message that a client puts together, with the protocol's order enforced."""
    assert told[0]["type"] == "message_start"
    message: Wire = told[0]["message"]
    texts: list[str] = []
    open = False
    for event in told[1:-2]:
        content = message["content"]
        if event["type"] == "content_block_start":
            assert not open
            assert event["index"] == len(content)
            content.append(event["content_block"])
            texts, open = [], True
        elif event["type"] == "content_block_delta":
            assert open
            assert event["index"] == len(content) - 1
            delta = event["delta"]
            if delta["type"] == "input_json_delta":
                texts.append(delta["partial_json"])
            else:
                name = delta["type"].removesuffix("_delta")
                content[-1][name] += delta[name]
        else:
            assert event["type"] == "content_block_stop"
            open = False
            if content[-1]["type"] == "tool_use":
                content[-1]["input"] = json.loads("".join(texts) or "{}")
    assert not open
    assert told[-2]["type"] == "message_delta"
    assert told[-1] == {"type": "message_stop"}
    message |= told[-2]["delta"] | {"usage": told[-2]["usage"]}
    if "cheapfirst" in told[-2]:
        message["cheapfirst"] = told[-2]["cheapfirst"]
    return message


def pieces(text: str, cuts: list[int]) -> list[str]:
    marks = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(marks)]


CUTS = st.lists(st.integers(0, 200), max_size=6)
CALLS = st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=3), max_size=3)


@given(st.text(max_size=30), st.text(max_size=60), CALLS, CUTS, st.booleans())
def test_the_events_of_any_chunking_assemble_to_the_whole_message(
    thought: str, said: str, inputs: list[Wire], cuts: list[int], interleaved: bool
) -> None:
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": json.dumps(input)}}
        for number, input in enumerate(inputs)
    ]
    message = {"content": said or None, "reasoning": thought or None, "tool_calls": calls}
    body = {
        "model": "x/y",
        "choices": [{"index": 0, "finish_reason": "tool_calls" if calls else "stop", "message": message}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 6},
        "cheapfirst": {"tier": "cheap"},
    }
    deltas: list[Wire] = [{"reasoning": piece} for piece in pieces(thought, cuts)]
    deltas += [{"content": piece} for piece in pieces(said, cuts)]
    grown = []
    for number, call in enumerate(calls):
        function: Any = call["function"]
        first, *rest = pieces(function["arguments"], cuts)
        grown.append((0, {**call, "index": number, "function": {"name": "f", "arguments": first}}))
        grown += [
            (place, {"index": number, "function": {"arguments": piece}}) for place, piece in enumerate(rest, start=1)
        ]
    if interleaved:
        grown.sort(key=lambda one: one[0])
    deltas += [{"tool_calls": [piece]} for _, piece in grown]
    made = messages.Events({}, ID)
    said_all = b"".join(made.feed({"model": "x/y", "choices": [{"index": 0, "delta": delta}]}) for delta in deltas)
    finish = body["choices"][0]["finish_reason"]  # type: ignore[index]
    said_all += made.feed(
        {"model": "x/y", "choices": [{"delta": {}, "finish_reason": finish}], "cheapfirst": body["cheapfirst"]}
    )
    said_all += made.feed({"choices": [], "usage": body["usage"]}) + made.end()
    assert assembled(events(said_all)) == messages.whole(body, {}, ID)
    again = messages.Events({}, ID)
    at_once = b"".join(again.feed(chunk) for chunk in chat.chunks(body)) + again.end()
    assert assembled(events(at_once)) == messages.whole(body, {}, ID)


def test_an_error_inside_a_stream_is_an_error_event_without_a_clean_end() -> None:
    made = messages.Events({}, ID)
    said = made.feed({"choices": [{"delta": {"content": "Ha"}}]})
    said += made.fail(Problem(status=502, code="upstream_x", message="m"))
    kinds = [event["type"] for event in events(said)]
    assert kinds[-1] == "error"
    assert "message_stop" not in kinds


WORDS = ("type", "text", "role", "content", "source", "name", "id", "input", "tool_use_id", "thinking", "signature")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "x"])
BLOCK = st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(st.sampled_from(WORDS), JSON))
SAID = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(BLOCK, max_size=3) | JSON,
)
FIELDS = ["system", "tools", "tool_choice", "metadata", "thinking", "output_config", "stop_sequences", "output_format"]


@given(st.lists(SAID | JSON, max_size=3), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_an_odd_request_is_translated_or_refused_and_nothing_else(said: list[Any], rest: Wire) -> None:
    try:
        wire = messages.read({"max_tokens": 1, "messages": said, **rest})
    except Refused:
        return
    assert all(isinstance(message["role"], str) for message in wire["messages"])


ODD = st.dictionaries(
    st.sampled_from(["content", "refusal", "reasoning", "reasoning_details", "tool_calls", "annotations", "odd"]),
    JSON | st.lists(st.fixed_dictionaries({"function": JSON, "id": JSON, "index": JSON}), max_size=3),
)


@given(st.lists(ODD, max_size=4), JSON, JSON)
def test_odd_answers_are_borne(deltas: list[Wire], finish: Any, usage: Any) -> None:
    messages.whole({"choices": [{"message": delta, "finish_reason": finish} for delta in deltas]}, {}, ID)
    made = messages.Events({}, ID)
    for delta in deltas:
        made.feed({"choices": [{"delta": delta, "finish_reason": finish}], "usage": usage})
    made.end()
