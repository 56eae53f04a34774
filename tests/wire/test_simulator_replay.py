"""Recorded answers come back as they were recorded: text, tool calls, usage, cost and time."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.errors import SimulatorError
from cheapfirst.simulator import Options, SimModel, Simulator, serve_in_thread, wire
from cheapfirst.simulator.answerer import echo
from cheapfirst.simulator.exchange import Ask, Turn, answer, begin
from cheapfirst.simulator.replay import digest, read
from simulator_client import CHEAP, PREMIUM, body, call, get

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
MESSAGES = [{"role": "user", "content": "What is 2+2?"}]
LINES: list[dict[str, Any]] = [
    {"key": "q1", "model": CHEAP, "text": "Grüße: 4", "cost": 0.000173192, "latency_s": 1.5},
    {"id": "q2", "model": CHEAP, "tool_calls": [CALL], "usage": {"prompt_tokens": 10, "completion_tokens": 20}},
    {
        "key": "q3",
        "model": "old-model-FC",
        "message": {"content": "four", "reasoning": "two and two", "annotations": []},
        "finish_reason": "length",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "cost": 1e-7, "extra": "kept"},
    },
    {"digest": digest(MESSAGES), "model": CHEAP, "text": "by digest"},
    {"key": "again", "model": CHEAP, "text": "first"},
    {"key": "again", "model": CHEAP, "text": "second"},
    {"key": "dated", "model": "anthropic/claude-4.8-opus-20260528", "text": "by the dated slug"},
]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in LINES) + "\n\n")
    return path


def keyed(key: str, *, model: str = CHEAP, **more: Any) -> dict[str, Any]:
    return body("anything", model=model, metadata={"replay": key}, **more)


def test_a_recorded_text_and_cost_come_back_exactly(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        raw = call(sim.base_url, keyed("q1"))
        assert raw.text == "Grüße: 4"
        assert b'"cost":0.000173192' in raw.data
        assert raw.json["simulated"] is True
        assert sim.books()["total"]["cost"] == "0.000173192"


def test_a_recorded_stream_says_the_same(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        raw = call(sim.base_url, keyed("q1", stream=True))
        assert raw.text == "Grüße: 4"
        assert raw.chunks[-1]["usage"]["cost"] == 0.000173192
        assert raw.done


@pytest.mark.parametrize("stream", [False, True])
def test_recorded_tool_calls_come_back_with_usage_and_a_computed_cost(recordings: Path, stream: bool) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        raw = call(sim.base_url, keyed("q2", stream=stream))
        if stream:
            deltas = [d for c in raw.chunks for ch in c["choices"] for d in ch["delta"].get("tool_calls", [])]
            assert "".join(delta["function"]["arguments"] for delta in deltas) == '{"a": 1}'
            assert raw.finishes == ["tool_calls"]
            usage = raw.chunks[-1]["usage"]
        else:
            assert raw.json["choices"][0]["message"]["tool_calls"] == [CALL]
            assert raw.json["choices"][0]["finish_reason"] == "tool_calls"
            usage = raw.json["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (10, 20)
        assert usage["cost"] == pytest.approx((10 * 0.09 + 20 * 0.18) / 1e6)


def test_a_recorded_message_keeps_its_fields_and_its_model_needs_no_options(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        raw = call(sim.base_url, keyed("q3", model="old-model-FC"))
        choice, usage = raw.json["choices"][0], raw.json["usage"]
        assert choice["message"] == {"role": "assistant", **LINES[2]["message"]}
        assert choice["finish_reason"] == "length"
        assert usage["extra"] == "kept"
        assert usage["cost"] == 1e-7
        assert "old-model-FC" in [model["id"] for model in get(sim.base_url, "/models").json["data"]]


def test_without_a_key_the_messages_digest_is_looked_up(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        assert call(sim.base_url, {"messages": MESSAGES, "model": CHEAP, "temperature": 0}).text == "by digest"


@given(text=st.text(), number=st.integers())
def test_the_digest_is_what_the_documented_recipe_gives(text: str, number: int) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": text}], "n": number}]
    plain = json.dumps(messages, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest(messages) == hashlib.sha256(plain.encode()).hexdigest()


def test_several_recordings_under_a_key_are_served_in_turn(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        answers = [call(sim.base_url, keyed("again", max_tokens=room)).text for room in (10, 20, 30)]
        assert answers == ["first", "second", "second"]


def test_a_recording_is_found_under_the_dated_slug_too(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        assert call(sim.base_url, keyed("dated", model=PREMIUM)).text == "by the dated slug"


def test_a_miss_is_a_404_that_says_what_was_looked_for(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        raw = call(sim.base_url, keyed("q9"))
        assert raw.status == 404
        assert f"No recorded answer for model {CHEAP} and key q9" in raw.json["error"]["message"]
        assert sim.books()["refused"] == {"404_replay": 1}


def test_faults_on_the_way_happen_to_recordings_and_alterations_do_not(recordings: Path) -> None:
    with serve_in_thread(Options(replay=str(recordings))) as sim:
        payload = keyed("q1")
        for fault, status, text in (("502_provider", 502, None), ("length", 200, "Grüße: 4")):
            raw = call(sim.base_url, payload, headers={"X-Cheapfirst-Simulate": fault})
            assert raw.status == status
            assert text is None or raw.text == text
        assert call(sim.base_url, payload, headers={"X-Cheapfirst-Simulate": "empty_choices"}).json["choices"] == []


@pytest.mark.parametrize(("speed", "whole"), [(None, 0.0), (1.0, 1.5), (10.0, 0.15)])
def test_recorded_time_is_scaled_by_speed_and_left_out_by_default(
    recordings: Path, speed: float | None, whole: float
) -> None:
    world = begin(Options(replay=str(recordings), speed=speed), echo)
    turn = answer(world, Ask(body=keyed("q1")))
    assert isinstance(turn, Turn)
    assert turn.whole_seconds == pytest.approx(whole)
    assert turn.pace.first_token == pytest.approx(whole / 10)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "line 1"),
        ('\n{"model": "m", "text": "x"}', "line 2: it needs one of key, id, digest"),
        ('{"model": "m", "key": "k"}', "line 1: it needs one of message, text, tool_calls"),
        ('{"key": "k", "text": "x"}', "model"),
        ('{"key": "k", "model": "m", "text": 5}', "line 1"),
    ],
)
def test_a_wrong_line_is_an_error_with_its_number(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(text)
    with pytest.raises(SimulatorError, match=sentence):
        read(path)


def test_a_missing_file_is_an_error_when_the_simulator_is_made(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="No such file"):
        Simulator(Options(replay=str(tmp_path / "none.jsonl")))


@given(cost=st.decimals(min_value=0, max_value=1000, places=12))
def test_any_recorded_cost_is_served_to_the_last_place(tmp_path_factory: pytest.TempPathFactory, cost: Decimal) -> None:
    path = tmp_path_factory.mktemp("replay") / "one.jsonl"
    path.write_text(f'{{"key": "k", "model": "acme/m", "text": "x", "cost": {cost:f}}}')
    world = begin(Options(replay=str(path), models=(SimModel(id="acme/m"),)), echo)
    turn = answer(world, Ask(body=keyed("k", model="acme/m")))
    assert isinstance(turn, Turn)
    told = json.loads(wire.encode(wire.body(turn.served)), parse_float=Decimal)["usage"]["cost"]
    assert Decimal(told) == cost
