"""/metrics of a real gateway in front of the simulator says what the ledger says."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from observed import CANARY, SCHEMA, SECRET, ask, gateway, stream
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from cheapfirst.gateway.metrics import BOUND, FAMILIES, OTHER, Metrics, Names, template
from cheapfirst.gateway.server import Handle
from stories import escalated, story


def page(handle: Handle, accept: str = "") -> str:
    url = handle.base_url.removesuffix("/v1") + "/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
        text: str = answer.read().decode()
        return text


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Value by name and labels' values in alphabetical order of the labels."""
    read: Any = read_text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in read(text)
        for sample in family.samples
    }


def test_the_counts_are_those_of_the_ledger(tmp_path: Path) -> None:
    with gateway(tmp_path) as handle:
        for _ in range(3):
            ask(handle)
        ask(handle, "extract", response_format=SCHEMA)
        stream(handle)
        with pytest.raises(openai.NotFoundError):
            ask(handle, "no/such-task-or-model-at-all/x")
        text = page(handle)
    got = samples(text)
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        requests = ledger.execute("SELECT task, ending, count(*) FROM requests GROUP BY 1, 2").fetchall()
        columns = [row[1] for row in ledger.execute("PRAGMA table_info(attempts)")]
        attempts = [dict(zip(columns, row, strict=True)) for row in ledger.execute("SELECT * FROM attempts")]
    counted: dict[tuple[str, str], float] = defaultdict(float)
    for (name, *labels), value in got.items():
        if name == "cheapfirst_requests_total":
            counted[labels[1], labels[0]] += value
    assert {(task, ending): count for task, ending, count in requests} == counted
    assert sum(v for (name, *_), v in got.items() if name == "cheapfirst_attempts_total") == len(attempts) == 6
    prompt = sum(row["prompt_tokens"] for row in attempts)
    assert sum(v for key, v in got.items() if key[0] == "cheapfirst_tokens_total" and "prompt" in key) == prompt
    assert got["cheapfirst_escalations_total", "schema.type", "extract"] == 1
    assert got["cheapfirst_attempts_total", "", "sim/small", "rejected"] == 1
    assert got["cheapfirst_request_duration_seconds_count", "write"] == 3
    assert got["cheapfirst_first_token_seconds_count", "chat"] == 1
    assert got["cheapfirst_ledger_requests_total",] == 5
    assert got["cheapfirst_ledger_lost_total",] == 0
    assert got["cheapfirst_http_answers_total", "/v1/chat/completions", "200"] == 5
    assert got["cheapfirst_breaker_state", "sim/small", "closed"] == 1
    assert got["cheapfirst_requests_running",] == 0


def test_both_formats_name_every_family_and_hold_no_text_and_no_key(tmp_path: Path) -> None:
    with gateway(tmp_path) as handle:
        ask(handle)
        text, openmetrics = page(handle), page(handle, "application/openmetrics-text; version=1.0.0")
    read: Any = read_openmetrics
    assert {family.name for family in read(openmetrics)} == {family.name for family in FAMILIES}
    for family in FAMILIES:
        assert f"# TYPE {family.full} " in text
    for told in (text, openmetrics):
        assert CANARY not in told
        assert SECRET not in told


def test_costs_are_added_exactly() -> None:
    metrics = Metrics()
    told = story()
    for _ in range(1000):
        metrics.record(told)
    assert told.cost is not None
    assert metrics._cost == {told.attempts[0].model: Decimal(1000) * told.cost}


def test_an_escalation_counts_under_its_first_reason() -> None:
    metrics = Metrics()
    metrics.record(escalated())
    assert metrics._escalations == {("extract", "schema.required"): 1}


def test_names_beyond_the_bound_count_together() -> None:
    names = Names()
    labels = [names[f"task {number}"] for number in range(BOUND + 50)]
    assert len(set(labels)) == BOUND + 1
    assert set(labels[BOUND:]) == {OTHER}
    assert names["task 0"] == "task 0"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/health", "/health"),
        ("/v1/models/a/b", "/v1/models/{model}"),
        ("/v1/embeddings", "/v1/*"),
        ("/wp-login.php", "other"),
    ],
)
def test_paths_are_counted_by_what_they_are(path: str, label: str) -> None:
    assert template(path, {"/health", "/v1/models"}) == label


def test_a_failure_of_telemetry_fails_no_request_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    with gateway(tmp_path) as handle:
        monkeypatch.setattr(handle.gateway.telemetry.metrics, "record", broken)
        assert ask(handle).choices[0].message.content
        assert samples(page(handle))["cheapfirst_telemetry_failures_total", "metrics"] == 1
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM requests").fetchone() == (1,)
