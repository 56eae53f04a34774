"""Log lines of a real gateway: one a request, in one format with all other messages, and never in anybody's way."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import CANARY, SCHEMA, SECRET, ask, gateway, stream

from cheapfirst.gateway import logs
from cheapfirst.gateway.logs import Logs, line, of_story
from stories import escalated, stories, story

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text("utf-8").splitlines()]


def test_each_request_is_a_line_and_no_line_holds_text_or_a_key(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "log") as fd,
        gateway(tmp_path, faults={"529_overloaded": 0.3}, logs=Logs("json", fd=fd)) as handle,
    ):
        answer = ask(handle, extra_headers={"traceparent": PARENT})
        ask(handle, "extract", response_format=SCHEMA, user="tenant-of-ours")
        stream(handle)
        with pytest.raises(openai.NotFoundError):
            ask(handle, f"nothing/{CANARY}/x/y")
    told = lines(tmp_path / "log")
    first, second, third, refused = told
    assert first["request_id"] == answer.cheapfirst["request_id"]
    assert first["trace_id"] == PARENT[3:35]
    assert (first["level"], first["task"], first["ending"]) == ("info", "write", "accepted")
    assert first["cost"] == pytest.approx(answer.cheapfirst["cost"])
    assert second["tier"] == "premium"
    assert second["escalated"] is True
    assert third["first_token"] <= third["duration"]
    assert (refused["event"], refused["status"]) == ("refused", 404)
    text = (tmp_path / "log").read_text("utf-8")
    assert CANARY not in text
    assert SECRET not in text
    assert "tenant-of-ours" not in text


def test_a_failed_request_is_an_error_that_names_its_faults(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "log") as fd,
        gateway(tmp_path, faults={"529_overloaded": 1.0}, logs=Logs("json", fd=fd)) as handle,
        pytest.raises(openai.APIStatusError),
    ):
        ask(handle, "sim/small")
    (told,) = lines(tmp_path / "log")
    assert told["level"] == "error"
    assert set(told["faults"]) == {"overloaded"}


def test_without_lines_for_requests_there_are_none(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as fd, gateway(tmp_path, logs=Logs("json", fd=fd, requests=False)) as handle:
        ask(handle)
    assert (tmp_path / "log").read_text("utf-8") == ""


def test_logs_that_raise_fail_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    made = Logs("json")
    monkeypatch.setattr(made, "ended", broken)
    with gateway(tmp_path, logs=made) as handle:
        assert ask(handle).choices[0].message.content


def test_a_pipe_that_nobody_reads_stops_nobody_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WAITING", 500)
    reader, writer = os.pipe()
    made = Logs("json", fd=writer)
    told = story()
    written = 20_000  # far more than a pipe holds
    for _ in range(written):
        made.ended(told)
    made.close(0.01)
    assert made.lost > 0
    got = bytearray()
    reading = threading.Thread(target=lambda: _read_all(reader, got))
    reading.start()
    made.close()
    thread = next((one for one in threading.enumerate() if one.name == "cheapfirst-logs"), None)
    if thread is not None:
        thread.join()
    os.close(writer)
    reading.join()
    os.close(reader)
    assert got.count(b"\n") + made.lost == written


def _read_all(fd: int, into: bytearray) -> None:
    while piece := os.read(fd, 65536):
        into += piece


def test_a_pipe_that_was_closed_fails_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    made = Logs("json", fd=writer)
    made.ended(story())
    made.close()
    os.close(writer)
    assert made.lost == 1


def test_messages_of_any_logger_take_the_same_way_and_exceptions_tell_no_text(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as fd:
        made = Logs("json", fd=fd)
        logger = logging.Logger("uvicorn.error")
        logger.addHandler(logs.Handler(made))
        logger.warning("two\nlines %s", "and words")
        try:
            raise ValueError(CANARY)
        except ValueError:
            logger.exception("request %s failed", "req_1")
        made.close()
    first, second = lines(tmp_path / "log")
    assert (first["level"], first["logger"], first["message"]) == ("warning", "uvicorn.error", "two\nlines and words")
    assert second["exception"] == "ValueError"
    assert "test_logs.py" in second["at"][0]
    assert CANARY not in (tmp_path / "log").read_text("utf-8")


@given(text=st.text(), format=st.sampled_from(["json", "text"]))
def test_nothing_in_a_name_begins_another_line(text: str, format: Any) -> None:
    made = line({"time": 0.0, "level": "info", "event": "request", "task": text}, format).decode()
    assert made.endswith("\n")
    assert "\n" not in made[:-1]
    assert "\r" not in made
    if format == "text":
        assert made[:-1].isprintable()
    else:
        assert json.loads(made)["task"] == text


def test_half_a_surrogate_is_a_line_too() -> None:
    fields = {"time": 0.0, "level": "info", "event": "request", "task": "\ud83d"}
    assert [line(fields, format).count(b"\n") for format in ("json", "text")] == [1, 1]


@given(told=stories())
def test_any_story_is_a_line_in_both_formats(told: Any) -> None:
    fields = of_story(told, "0" * 32)
    assert json.loads(line(fields, "json"))["ending"] == told.ending
    assert line(fields, "text").count(b"\n") == 1


def test_a_line_for_people_has_its_words_in_order() -> None:
    made = line(of_story(escalated()), "text").decode()
    assert " INFO request request_id=" in made
    assert " ending=accepted attempts=2 escalated=true cost=0.001002 " in made
    assert ' reasons=["schema.required"]' in made
