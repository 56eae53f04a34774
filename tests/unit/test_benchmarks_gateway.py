"""The gateway benchmark's own parts: reading wrk, ratios and spreads, tables, what counts as a right answer."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.gateway import __main__ as command
from benchmarks.gateway import figures, load, measure, peers, plot, report

PRINTED = """Running 3s test @ http://127.0.0.1:40553/
  1 threads and 16 connections
Requests/sec:   6932.55
FIGURES {"requests": 20801, "seconds": 3.000100, "p50_ms": 0.168, "p99_ms": 1.270, "mean_ms": 0.200, \
"errors": 1, "complete": 0, "broken": 0}
"""
CONTENT = json.dumps({"category": "billing", "urgent": True, "order": "A-10442", "summary": "Charged twice."})


def whole(content: str) -> str:
    return json.dumps({"choices": [{"message": {"content": content}}]})


def streamed(words: int, end: str = "data: [DONE]\n\n") -> str:
    events = [{"choices": [{"delta": {"content": f"word{at} "}}]} for at in range(words)]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in [*events, {"choices": [], "usage": {}}]) + end


def row(name: str, turn: int, rate: float, *, kind: str = "json", connections: int = 16) -> measure.Row:
    return measure.Row(name, kind, connections, turn, rate, 1.0 + turn, 2.0, 150.0, 0.1, 0)


def found(**changed: object) -> report.Found:
    rows = [row("upstream", turn, 50_000) for turn in range(3)]
    rows += [row("cheapfirst", turn, 6_000 + turn) for turn in range(3)]
    rows += [row("cheapfirst", turn, 6_500, kind="text") for turn in range(3)]
    rows += [row("litellm", turn, 100) for turn in range(3)]
    about = {"processor": "a processor <&>", "cores": "2", "python": "3.11.7"}
    held = {
        "machine": about,
        "settings": {"rounds": 3},
        "versions": {"cheapfirst": "1", "litellm": "2"},
        "notes": {"cheapfirst": "checks on", "litellm": "one worker"},
        "absent": {"portkey": "npm is not installed"},
        "rows": rows,
        "memories": [measure.Memory("cheapfirst", 55, 60, 100_000, 0.4), measure.Memory("litellm", 300, 330, 9_000, 5)],
    }
    return report.Found(**(held | changed))  # type: ignore[arg-type]


def test_the_figures_are_read_from_what_wrk_prints() -> None:
    read = load.parse(PRINTED)
    assert (read.requests, read.p50_ms, read.p99_ms, read.errors) == (20801, 0.168, 1.27, 1)
    assert read.rate == pytest.approx(20800 / 3.0001)


def test_only_complete_streams_count() -> None:
    read = load.Round(100, 2.0, 1, 2, 1, 0, complete=90, broken=10)
    assert read.rate == 45


def test_a_round_whose_streams_all_broke_has_no_rate() -> None:
    assert load.Round(100, 2.0, 1, 2, 1, 0, complete=0, broken=100).rate == 0


def test_output_without_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1")


def test_a_missing_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(load.Missing, match="apt install wrk"):
        load.require("wrk", "wrk")


def test_a_ratio_is_taken_round_by_round() -> None:
    assert figures.ratio([100, 10], [50, 5]) == figures.Spread(2, 2, 2)
    assert figures.ratio([100], [0]) is None
    assert figures.spread([]) is None


def test_added_latency_is_taken_round_by_round() -> None:
    assert figures.added([1.5, 11.5], [1.0, 11.0]) == figures.Spread(0.5, 0.5, 0.5)


def test_a_spread_is_the_median_between_least_and_greatest() -> None:
    held = figures.spread([3, 1, 2])
    assert held == figures.Spread(2, 1, 3)
    assert held.text(1) == "2.0 (1.0-3.0)"


def test_a_table_keeps_its_columns_in_line() -> None:
    lines = figures.table(["gateway", "per second"], [["a", "1"], ["a longer name", "22"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "| a             |          1 |"


@pytest.mark.parametrize(
    ("kind", "status", "text", "said"),
    [
        ("json", 200, whole(CONTENT), None),
        ("text", 200, whole(CONTENT), None),
        ("json", 502, "bad gateway", "answered 502: bad gateway"),
        ("json", 200, whole("{}").replace("{}", '{\\"order\\": 1}'), "content was changed"),
        ("json", 200, whole("not JSON"), "no JSON content"),
        ("json", 200, "[]", "no JSON content"),
        ("stream", 200, streamed(50), None),
        ("stream", 200, streamed(49), "49 words of 50"),
        ("stream", 200, streamed(50, end=""), "ends with"),
        ("stream", 200, "", "ends with nothing"),
    ],
)
def test_a_gateway_is_only_measured_when_it_hands_on_the_right_answer(
    kind: str, status: int, text: str, said: str | None
) -> None:
    fault = measure.fault(kind, status, text)
    assert fault is None if said is None else fault is not None and said in fault


def test_every_gateway_gets_the_same_request_but_for_the_model() -> None:
    ours, theirs = load.body("ticket", "json"), load.body("other", "json")
    assert ours | {"model": "other"} == theirs
    assert load.body("m", "stream")["stream_options"] == {"include_usage": True}


def test_the_text_names_ratios_the_machine_and_who_is_absent() -> None:
    text = report.text(found())
    assert "share 2 cores" in text
    assert "absent: portkey: npm is not installed" in text
    line = next(line for line in text.splitlines() if line.startswith("| litellm"))
    assert "60.01 (60.00-60.02)" in line
    assert "cheapfirst text" in text


def test_saturation_is_the_best_rate_over_the_numbers_of_connections() -> None:
    rows = [row("cheapfirst", 0, rate, connections=n) for n, rate in ((1, 500.0), (16, 900.0), (64, 800.0))]
    line = report.saturation(found(rows=rows)).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")[2:5]] == ["900 (900-900)", "16", "1.00"]


def test_the_picture_is_well_formed_and_names_every_gateway() -> None:
    drawn = plot.svg(found())
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert {"cheapfirst", "litellm", "upstream"} <= set(texts)
    assert any("a processor <&>" in text for text in texts)
    assert "prefers-color-scheme: dark" in drawn


def test_a_figure_of_nothing_is_not_drawn() -> None:
    assert plot.svg(found(rows=[], memories=[])).endswith("</svg>\n")


def test_a_peer_that_cannot_be_had_is_absent_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    place = peers.Place(tmp_path, tmp_path, 1, 2, 3)
    with pytest.raises(peers.Absent, match="node and npm are not installed"):
        peers.portkey(place)


def test_ours_is_measured_whatever_peers_are_asked_for() -> None:
    assert command.parse(["--peers", "nginx"]).peers == ["cheapfirst", "nginx"]
    assert command.parse([]).peers == list(peers.PEERS)


def test_a_quick_run_is_one_short_round() -> None:
    quick = command.parse(["--quick"])
    assert (quick.rounds, quick.seconds, quick.connections, quick.requests) == (1, 1.0, [1, 16], 2_000)
