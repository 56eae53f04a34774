"""Streams of guarded routes: a doomed answer is cut upstream at once, and its client sees the next one only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cheapfirst.messages import Wire
from scripted import Exchange, delta, usage_chunk
from talking import POLICY, asking, until, world

GUARDED = POLICY.replace('{ tier = "cheap", shape = "json" }', '{ tier = "cheap", shape = "json", stream = "guard" }')

SCHEMA: Wire = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "size": {"enum": ["small", "large"]},
        "ages": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        "child": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
    "required": ["name"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
RIGHT = '{"name": "Ada", "size": "large", "ages": [36, 37], "child": {"n": 1}}'


def pieces(text: str) -> list[Wire | str]:
    return [delta(text[at : at + 5]) for at in range(0, len(text), 5)]


@pytest.mark.parametrize(
    ("begun", "code"),
    [
        ('{"name": ["Ada', "schema.type"),
        ('{"nickname": "A', "schema.additional"),
        ('{"size": "medium', "schema.enum"),
        ('{"name": "Augusta Ada King', "schema.max_length"),
        ('{"ages": [1, 2, 3', "schema.max_items"),
        ('{"child": {"m": 1}', "schema.required"),
        ('```json\n{"name": ["A', "schema.type"),
    ],
)
async def test_a_doomed_answer_is_cut_and_its_client_sees_the_good_one(tmp_path: Path, begun: str, code: str) -> None:
    async def reply(exchange: Exchange) -> None:
        if json.loads(exchange.body)["model"] == "sim/large":
            await exchange.streamed(*pieces(RIGHT), delta(finish="stop"), usage_chunk(), "[DONE]")
        else:
            await exchange.begin()
            await exchange.events(*pieces(begun + "!"))
            await exchange.hang()  # nothing more comes: only who cuts it goes on

    async with world(reply, tmp_path, GUARDED) as made:
        said = await made.ask(asking("extract", stream=True, response_format=FORM))
        assert json.loads(said.text) == json.loads(RIGHT)
        assert said.done
        assert said.trail["escalated"] is True
        await until(made.server.left.is_set)
        (row,) = made.rows()
        assert (row["ending"], row["tier"], row["attempts"]) == ("accepted", "premium", 2)
        first, second = made.rows("attempts")
        assert (first["outcome"], first["won"], second["outcome"], second["won"]) == ("doomed", 0, "answer", 1)
        assert json.loads(first["reasons"])[0]["code"] == code
        assert second["on"] == "reject"


async def test_a_call_of_a_tool_that_nobody_declared_is_cut(tmp_path: Path) -> None:
    function = {"name": "look_up", "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}}}

    def call(name: str) -> list[Wire | str]:
        made: Any = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": '{"order": 7}'}}
        return [delta(None, tool_calls=[made])]

    async def reply(exchange: Exchange) -> None:
        if json.loads(exchange.body)["model"] == "sim/large":
            await exchange.streamed(*call("look_up"), delta(finish="tool_calls"), usage_chunk(), "[DONE]")
        else:
            await exchange.begin()
            await exchange.events(*call("look_down"))
            await exchange.hang()

    async with world(reply, tmp_path, GUARDED) as made:
        tools = [{"type": "function", "function": function}]
        said = await made.ask(asking("extract", stream=True, tools=tools, tool_choice="required"))
        names = [
            one["function"]["name"]
            for chunk in said.chunks
            for choice in chunk["choices"]
            for one in choice["delta"].get("tool_calls", [])
            if one["function"].get("name")
        ]
        assert names == ["look_up"]
        assert [row["outcome"] for row in made.rows("attempts")] == ["doomed", "answer"]


@pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```", "Here you are:\n{}"])
async def test_a_right_answer_is_not_cut(tmp_path: Path, fence: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.streamed(*pieces(fence.replace("{}", RIGHT)), delta(finish="stop"), usage_chunk(), "[DONE]")

    async with world(reply, tmp_path, GUARDED) as made:
        said = await made.ask(asking("extract", stream=True, response_format=FORM))
        assert json.loads(said.text) == json.loads(RIGHT)
        assert said.trail["escalated"] is False
        assert len(made.server.seen) == 1


async def test_the_last_attempts_doomed_answer_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(*pieces('{"name": ["Ada"'))
        await exchange.hang()

    async with world(reply, tmp_path, GUARDED) as made:
        said = await made.ask(asking("extract", stream=True, response_format=FORM))
        assert not said.done
        assert "answer_rejected" in said.data.decode()
        assert [row["outcome"] for row in made.rows("attempts")] == ["doomed", "doomed"]
