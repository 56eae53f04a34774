"""A streamed answer assembled from its chunks is the answer that an unstreamed call would have brought."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.messages import Wire
from cheapfirst.upstream.assemble import Assembly, has_token

FIELDS = st.sampled_from(
    ["choices", "delta", "index", "tool_calls", "function", "usage", "reasoning_details", "logprobs", "content"]
)
STRANGE = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner)
)


def chunk(delta: Wire, **choice: Any) -> Wire:
    return {"id": "g", "model": "m", "choices": [{"index": 0, "delta": delta, **choice}]}


def assembled(*chunks: Wire) -> Wire:
    assembly = Assembly()
    for one in chunks:
        assembly.add(one)
    return assembly.body()


def message(*chunks: Wire) -> Wire:
    made: Wire = assembled(*chunks)["choices"][0]["message"]
    return made


@given(st.lists(st.text()))
def test_content_is_concatenated_exactly_and_the_repeated_role_is_not(parts: list[str]) -> None:
    made = message(*(chunk({"role": "assistant", "content": part}) for part in ["", *parts]))
    assert made == {"role": "assistant", "content": "".join(parts)}


def test_an_answer_without_content_has_none_and_not_an_empty_string() -> None:
    made = message(
        chunk(
            {"role": "assistant", "content": None, "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}
        )
    )
    assert made["content"] is None
    assert made["tool_calls"] == [{"type": "function", "id": "c", "function": {"name": "f", "arguments": ""}}]


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=4)), max_size=30))
def test_tool_arguments_are_joined_by_index_in_whatever_order_the_fragments_come(parts: list[tuple[int, str]]) -> None:
    begun = [
        {"index": i, "id": f"c{i}", "type": "function", "function": {"name": f"f{i}", "arguments": ""}}
        for i in range(4)
    ]
    chunks = [chunk({"tool_calls": [call]}) for call in reversed(begun)]
    chunks += [chunk({"tool_calls": [{"index": i, "function": {"arguments": text}}]}) for i, text in parts]
    calls = message(*chunks)["tool_calls"]
    assert [call["id"] for call in calls] == ["c0", "c1", "c2", "c3"]
    for i, call in enumerate(calls):
        assert call["function"] == {"name": f"f{i}", "arguments": "".join(text for at, text in parts if at == i)}


def test_a_tool_name_repeated_in_every_fragment_stands_once() -> None:
    part = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "1"}}
    assert message(chunk({"tool_calls": [part]}), chunk({"tool_calls": [part]}))["tool_calls"][0]["function"] == {
        "name": "f",
        "arguments": "11",
    }


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    calls = message(
        chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"function": {"arguments": "}"}}]}),
        chunk({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": {"x": 1}}}]}),
    )["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [("a", "{}"), ("b", '{"x":1}')]


def test_reasoning_fragments_join_and_encrypted_blocks_stay_apart() -> None:
    text = {"type": "reasoning.text", "index": 0}
    made = message(
        chunk({"reasoning": "a", "reasoning_details": [{**text, "text": "a"}]}),
        chunk({"reasoning": "b", "reasoning_details": [{**text, "text": "b"}]}),
        chunk({"reasoning_details": [{**text, "signature": "s"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "y"}]}),
    )
    assert made["reasoning"] == "ab"
    assert made["reasoning_details"] == [
        {**text, "text": "ab", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "x"},
        {"type": "reasoning.encrypted", "index": 1, "data": "y"},
    ]


def test_an_empty_list_of_reasoning_details_survives() -> None:
    assert message(chunk({"content": "a", "reasoning_details": []}))["reasoning_details"] == []


def test_the_chunks_themselves_are_left_as_they_were() -> None:
    first = chunk({"reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}], "annotations": [1]})
    second = chunk({"reasoning_details": [{"type": "reasoning.text", "text": "b", "index": 0}], "annotations": [2]})
    made = message(first, second)
    assert made["annotations"] == [1, 2]
    assert first["choices"][0]["delta"]["reasoning_details"][0]["text"] == "a"
    assert first["choices"][0]["delta"]["annotations"] == [1]


def test_the_first_finish_stands_when_a_usage_chunk_or_an_error_chunk_follows() -> None:
    made = assembled(
        chunk({"content": "a"}),
        chunk({}, finish_reason="length", native_finish_reason="MAX_TOKENS"),
        {**chunk({}, finish_reason="error", native_finish_reason=None), "error": {"code": 400}, "usage": {}},
    )
    assert made["choices"][0]["finish_reason"] == "length"
    assert made["choices"][0]["native_finish_reason"] == "MAX_TOKENS"
    assert made["error"] == {"code": 400}


def test_both_forms_of_the_usage_chunk_are_taken_and_an_empty_one_replaces_nothing() -> None:
    usage = {"prompt_tokens": 1}
    modern = assembled(chunk({"content": "a"}, finish_reason="stop"), {"id": "g", "choices": [], "usage": usage})
    older = assembled(
        chunk({"content": "a"}, finish_reason="stop"), {**chunk({"content": ""}, finish_reason="stop"), "usage": usage}
    )
    assert modern == older
    assert assembled({"choices": [], "usage": usage}, {"choices": [], "usage": {}})["usage"] == usage


def test_several_choices_are_kept_apart_and_logprobs_extend() -> None:
    made = assembled(
        {"choices": [{"index": 1, "delta": {"content": "x"}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [1], "refusal": None}}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [2]}}]},
    )
    assert [choice["message"]["content"] for choice in made["choices"]] == ["ab", "x"]
    assert made["choices"][0]["logprobs"] == {"content": [1, 2]}


def test_unknown_fields_of_chunk_choice_and_delta_survive() -> None:
    made = assembled({"future": 1, "choices": [{"index": 0, "mark": 2, "delta": {"content": "a", "new": {"x": 3}}}]})
    assert (made["future"], made["choices"][0]["mark"], made["choices"][0]["message"]["new"]) == (1, 2, {"x": 3})


@given(STRANGE)
def test_chunks_of_any_strange_form_are_taken_without_an_error(strange: Any) -> None:
    odd = strange if isinstance(strange, dict) else {"choices": [strange]}
    has_token(odd)
    assembled(odd, {"choices": [{"delta": odd}]}, {"choices": odd})


def test_only_text_reasoning_calls_and_a_finish_are_tokens() -> None:
    assert not has_token(chunk({"role": "assistant", "content": ""}))
    assert not has_token({"choices": []})
    assert has_token(chunk({"content": "a"}))
    assert has_token(chunk({"reasoning": "a"}))
    assert has_token(chunk({}, finish_reason="stop"))
