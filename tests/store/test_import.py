"""Other tools' logs in the ledger: the totals are those of the logs themselves, and nothing is entered twice."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from scripts.foreign_logs.upstream import CALLS, Call

from cheapfirst.cli import root
from cheapfirst.ledger import Recorder
from cheapfirst.ledger.report import report
from stories import story

EXPORTS = Path(__file__).parents[1] / "exports"
PICO = Decimal("0.000000000001")
MADE = [call for call in CALLS if call.status == 200]
PROMPT = sum(call.prompt for call in MADE)
COMPLETION = sum(call.completion for call in MADE)
CACHED = sum(call.cached for call in MADE)


PRICES = {  # USD per million tokens: input, cached input, output
    "gpt-4o-mini": ("0.15", "0.075", "0.6"),
    "gpt-4o": ("2.5", "1.25", "10"),
    "o4-mini": ("1.1", "0.275", "4.4"),
    "gpt-4.1-mini": ("0.4", "0.1", "1.6"),
    "gpt-4.1-nano": ("0.1", "0.025", "0.4"),
}
BATCH = ("0.07", "0.03", "0.3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger beside a policy with prices of its own, so that those of the catalog may change."""
    rows = [
        f'[models."openai/{name}"]\ninput = {i}\ncache_read = {c}\noutput = {o}' for name, (i, c, o) in PRICES.items()
    ]
    rows.append('[models."openai/gpt-4o-mini:batch"]\ninput = {}\ncache_read = {}\noutput = {}'.format(*BATCH))
    folder = tmp_path / "ledger"
    folder.mkdir()
    tmp_path.joinpath("policy.toml").write_text("\n".join(rows))
    return folder / "ledger.db"


def priced(call: Call, price: tuple[str, str, str]) -> Decimal:
    fresh, cached, output = map(Decimal, price)
    parts = (call.prompt - call.cached) * fresh, call.cached * cached, call.completion * output
    return sum(parts, Decimal(0)) / 10**6


def run(path: Path, source: str, *words: str | Path) -> Result:
    policy = path.parents[1] / "policy.toml"
    line = ["ledger", "import", "--from", source, *map(str, words), "--ledger", str(path), "--policy", str(policy)]
    return CliRunner(env={"COLUMNS": "300"}).invoke(root, line)


def bring(path: Path, source: str, *words: str | Path) -> dict[str, Any]:
    result = run(path, source, *words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def rows(path: Path, query: str = "SELECT * FROM requests ORDER BY id") -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        return db.execute(query).fetchall()


def exact(costs: Iterable[str | float | Decimal]) -> Decimal:
    return sum((Decimal(str(cost)).quantize(PICO) for cost in costs), Decimal(0))


def litellm_rows(form: str) -> list[dict[str, Any]]:
    text = (EXPORTS / f"litellm.{form}").read_text()
    if form == "csv":
        return list(csv.DictReader(text.splitlines()))
    return json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_a_litellm_export_has_the_totals_that_its_own_rows_add_up_to(path: Path, form: str) -> None:
    found = bring(path, "litellm", EXPORTS / f"litellm.{form}")
    log = litellm_rows(form)
    assert (found["read"], found["imported"], found["malformed"]) == (len(log), len(log), 0)
    assert found["prompt_tokens"] == sum(int(row["prompt_tokens"]) for row in log) == PROMPT
    assert found["completion_tokens"] == sum(int(row["completion_tokens"]) for row in log) == COMPLETION
    assert found["cached_tokens"] == CACHED
    assert Decimal(found["cost"]) == exact(row["spend"] for row in log) > Decimal("0.05")
    # LiteLLM writes 0 for the internal model, whose price it doesn't know: that is unknown, not free.
    assert (found["said"], found["computed"], found["unknown"]) == (len(log) - 1, 0, 1)


@pytest.mark.parametrize("name", ["langfuse.json", "langfuse_blob.jsonl", "langfuse.csv"])
def test_a_langfuse_export_has_the_totals_of_the_calls_that_were_made(path: Path, name: str) -> None:
    found = bring(path, "langfuse", EXPORTS / name)
    assert (found["read"], found["imported"]) == (2 * len(CALLS), len(CALLS))
    assert found["skipped"] == {"type SPAN": len(CALLS)}
    assert (found["prompt_tokens"], found["completion_tokens"]) == (PROMPT, COMPLETION)
    assert found["cached_tokens"] == CACHED
    log = json.loads((EXPORTS / "langfuse.json").read_text())["data"]
    said = [row["totalCost"] for row in log if row["totalCost"] is not None]
    nano = [priced(call, PRICES[call.model]) for call in MADE if call.model == "gpt-4.1-nano"]  # no cost in the log
    assert Decimal(found["cost"]) == exact(said) + sum(nano, Decimal(0))
    assert (found["said"], found["computed"], found["unknown"]) == (len(said), len(nano), 2)


def test_pairs_of_request_and_response_have_the_totals_of_the_calls_that_were_made(path: Path) -> None:
    found = bring(path, "openai", EXPORTS / "openai_pairs.jsonl")
    assert (found["read"], found["imported"]) == (len(CALLS), len(CALLS))
    assert (found["prompt_tokens"], found["completion_tokens"], found["cached_tokens"]) == (PROMPT, COMPLETION, CACHED)
    expected = [priced(call, PRICES[call.model]) for call in MADE if call.model in PRICES]
    assert Decimal(found["cost"]) == sum(expected, Decimal(0))
    assert (found["computed"], found["unknown"]) == (len(CALLS) - 1, 1)  # the refused one cost nothing


def test_bare_answers_are_imported_those_of_the_responses_api_too(path: Path) -> None:
    found = bring(path, "openai", EXPORTS / "openai_answers.jsonl")
    assert found["imported"] == len(MADE) + 1
    assert found["prompt_tokens"] == PROMPT + 900
    assert found["completion_tokens"] == COMPLETION + 75
    assert found["cached_tokens"] == CACHED + 256


def test_a_batch_is_priced_as_a_batch(path: Path) -> None:
    found = bring(path, "openai", EXPORTS / "openai_batch.jsonl")
    assert found["imported"] == len(MADE)
    assert found["skipped"] == {"a batch request that failed: its line names no model": 1}
    mini = [priced(call, BATCH) for call in MADE if call.model == "gpt-4o-mini"]
    assert Decimal(found["models"]["openai/gpt-4o-mini:batch"]["cost"]) == sum(mini, Decimal(0))


def test_the_same_log_in_three_forms_is_entered_once(path: Path) -> None:
    bring(path, "litellm", EXPORTS / "litellm.json")
    before = rows(path), rows(path, "SELECT * FROM attempts ORDER BY request_id")
    again = bring(path, "litellm", EXPORTS / "litellm.csv", EXPORTS / "litellm.jsonl")
    assert (again["imported"], again["present"]) == (0, 2 * len(CALLS))
    assert (rows(path), rows(path, "SELECT * FROM attempts ORDER BY request_id")) == before


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_request_has_the_same_row_whichever_form_it_came_in(path: Path, form: str) -> None:
    other = path.with_name("other.db")
    bring(path, "litellm", EXPORTS / "litellm.json")
    bring(other, "litellm", EXPORTS / f"litellm.{form}")
    assert rows(path) == rows(other)


def test_a_request_of_a_tier_of_the_policy_belongs_to_it(path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    log = path.with_name("log.jsonl")
    made = [("anthropic/claude-opus-4.8", "premium"), ("deepseek/deepseek-v4-flash", "cheap"), ("gpt-4o", "imported")]
    lines = [{"id": f"gen-{model}", "created": 1790000000, "model": model, "usage": usage} for model, _ in made]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = bring(path, "openai", log)
    expected = [("cheap", 1), ("imported", 0), ("premium", 0)]
    assert rows(path, "SELECT tier_planned, cheap FROM requests ORDER BY tier_planned") == expected
    assert rows(path, "SELECT baseline = cost FROM requests WHERE tier = 'premium'") == [(1,)]
    assert found["compared"] == 3


def test_the_report_shows_what_the_summary_says_beside_requests_of_our_own(path: Path) -> None:
    recorder = Recorder(path)
    recorder.record(story())
    recorder.close()
    found = bring(path, "litellm", EXPORTS / "litellm.jsonl")
    told = report(path)
    assert told.total.requests == 1 + found["imported"]
    own = next(group for group in told.policies if group.name != "imported")
    theirs = next(group for group in told.policies if group.name == "imported")
    assert (own.requests, theirs.requests) == (1, found["imported"])
    assert theirs.cost == Decimal(found["cost"])
    assert theirs.baseline == Decimal(found["baseline"])
    assert theirs.unknown_attempts == found["unknown"]
    assert {group.name for group in told.tenants} >= {"acme", "globex"}
    assert {group.name for group in told.features} >= {"inbox", "reports", "planner"}
    assert {group.name for group in told.tasks} >= {"extract", "draft", "imported"}


def test_a_failed_call_is_a_fault_by_its_status(path: Path) -> None:
    bring(path, "litellm", EXPORTS / "litellm.jsonl")
    query = "SELECT ending, error, model, cost FROM requests WHERE ending <> 'accepted'"
    assert rows(path, query) == [("fault", "rate_limited", None, 0)]
    assert rows(path, "SELECT fault, fault_status FROM attempts WHERE fault IS NOT NULL") == [("rate_limited", 429)]


def test_neither_messages_nor_keys_get_into_the_ledger(path: Path) -> None:
    log = path.with_name("log.jsonl")
    row = litellm_rows("jsonl")[0]
    secret = {"messages": [{"role": "user", "content": "SECRET"}], "response": {"choices": ["SECRET"]}}
    log.write_text(json.dumps({**row, **secret, "api_key": "SECRET", "user": "SECRET", "end_user": "SECRET"}) + "\n")
    bring(path, "litellm", log)
    assert b"SECRET" not in path.read_bytes()


def test_rows_that_cannot_be_read_are_named_and_do_not_stop_the_rest(path: Path) -> None:
    lines = (EXPORTS / "litellm.jsonl").read_text().splitlines()
    bad = path.with_name("bad.jsonl")
    broken = [
        lines[0],
        lines[1][:200],
        "[1, 2]",
        lines[2].replace('"spend":', '"spend":-'),
        "",
        '{"model": "gpt-4o"}',
        lines[3].replace('"prompt_tokens":2113', '"prompt_tokens":"many"'),
        lines[4].replace("2026-09-15T12:00:00.137", "yesterday"),
        lines[5],
    ]
    bad.write_bytes("\n".join(broken).encode() + b"\n\xff\xfe{}\n")
    result = run(path, "litellm", bad, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found["imported"] == 2
    assert [one["line"] for one in found["bad"]] == [2, 3, 4, 6, 7, 8, 10]
    whys = [one["why"] for one in found["bad"]]
    assert "spend is not an amount in USD" in whys
    assert "prompt_tokens is not a number of tokens" in whys
    assert "startTime is not a time" in whys
    assert len(rows(path)) == 2
    shown = run(path, "litellm", bad)
    assert f"{bad}:2: not JSON" in shown.stderr
    assert shown.exit_code == 1


def test_a_row_of_csv_with_too_few_cells_costs_only_itself(path: Path) -> None:
    text = (EXPORTS / "litellm.csv").read_text().splitlines()
    log = path.with_name("log.csv")
    log.write_text("\n".join([*text[:3], "one,two", *text[3:]]) + "\n")
    found = json.loads(run(path, "litellm", log, "--json").stdout)
    assert (found["imported"], found["malformed"]) == (len(CALLS), 1)
    assert found["bad"][0]["line"] == 4


def test_a_dry_run_says_the_same_and_enters_nothing(path: Path) -> None:
    said = bring(path, "litellm", EXPORTS / "litellm.jsonl", EXPORTS / "litellm.csv", "--dry-run")
    assert list(path.parent.iterdir()) == []
    done = bring(path, "litellm", EXPORTS / "litellm.jsonl", EXPORTS / "litellm.csv")
    assert {**said, "dry_run": False} == done
    after = bring(path, "litellm", EXPORTS / "litellm.jsonl", "--dry-run")
    assert (after["imported"], after["present"]) == (0, len(CALLS))
    assert len(rows(path)) == len(CALLS)


def test_labels_come_from_where_the_caller_says(path: Path) -> None:
    maps = ("--map", "tenant=metadata.user_api_key_alias", "--map", "feature=request_tags.0", "--map", "task=nowhere")
    bring(path, "litellm", EXPORTS / "litellm.csv", *maps, "--task", "other")
    found = {row[:3] for row in rows(path, "SELECT task, feature, tenant FROM requests")}
    assert ("extract", "feature:inbox", "acme-key") in found
    assert ("other", "feature:inbox", None) in found


@pytest.mark.parametrize("text", ["tenant", "tenant=", "model=metadata.model"])
def test_a_mapping_that_cannot_be_is_refused_before_anything_is_read(path: Path, text: str) -> None:
    result = run(path, "litellm", EXPORTS / "litellm.csv", "--map", text)
    assert result.exit_code == 2
    assert "LABEL=PATH" in result.stderr
    assert not path.exists()


def test_a_packed_export_is_read_as_it_is(path: Path) -> None:
    packed = path.with_name("observations.jsonl.gz")
    packed.write_bytes(gzip.compress((EXPORTS / "langfuse_blob.jsonl").read_bytes()))
    assert bring(path, "langfuse", packed)["imported"] == len(CALLS)


def test_a_packed_export_that_ends_too_soon_is_an_error_and_what_came_before_is_in(path: Path) -> None:
    packed = path.with_name("observations.jsonl.gz")
    many = many_lines(3000)
    packed.write_bytes(gzip.compress(many)[:-4000])
    result = run(path, "openai", packed)
    assert result.exit_code == 1
    assert 0 < len(rows(path)) < 3000


def many_lines(count: int) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.000000000123}
    return b"".join(
        json.dumps({"id": f"gen-{n}", "created": 1790000000 + n, "model": "sim/small", "usage": usage}).encode() + b"\n"
        for n in range(count)
    )


def test_an_import_that_was_killed_goes_on_when_it_is_run_again(path: Path) -> None:
    log = path.with_name("log.jsonl")
    log.write_bytes(many_lines(20_000))
    line = [sys.executable, "-m", "cheapfirst", "ledger", "import", "--from", "openai", str(log), "--ledger", str(path)]
    process = subprocess.Popen(line, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while time.monotonic() < patience and process.poll() is None and not _some(path):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = len(rows(path))
    found = bring(path, "openai", log)
    assert 0 < killed < 20_000
    assert found["imported"] + found["present"] == 20_000
    total = rows(path, "SELECT count(*), sum(cost), sum(prompt_tokens) FROM requests")
    assert total == [(20_000, 20_000 * 123, 200_000)]
    assert list(path.with_name("ledger.db.journals").iterdir()) == [] or report(path).total.requests == 20_000


def _some(path: Path) -> bool:
    try:
        return bool(rows(path, "SELECT 1 FROM requests LIMIT 1"))
    except sqlite3.Error:
        return False
