"""Writes tests/exports/litellm.*: spend logs as LiteLLM itself builds them.

    python -m venv /tmp/litellm && /tmp/litellm/bin/pip install 'litellm[proxy]==1.82.6'
    /tmp/litellm/bin/python -m scripts.foreign_logs.make_litellm

That version and no later one: releases after it were malicious. The proxy's database needs PostgreSQL and prisma, so
its own function that builds a row of LiteLLM_SpendLogs is called in the place where the proxy calls it, and the rows
are written in the three forms in which people get them: as SQL tools export the table (JSON Lines, CSV), and as
/spend/logs answers.
"""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.litellm_logging import StandardLoggingPayloadSetup
from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

from scripts.foreign_logs.upstream import CALLS, Call, serving

FOLDER = Path(__file__).parents[2] / "tests" / "exports"
BEGIN = datetime(2026, 9, 14, 8, 0, tzinfo=UTC)
JSON = ("metadata", "request_tags", "messages", "response", "proxy_server_request")
HELD = ("model_map_information",)
"""Left out of the metadata: LiteLLM's whole price table of the model, which changes with every release."""


class Keep(CustomLogger):
    """Keeps what LiteLLM tells its callbacks."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, Any], Any, datetime, datetime]] = []

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call that succeeded; a streamed one is told of at its beginning too."""
        if kwargs.get("stream") and "complete_streaming_response" not in kwargs:
            return
        self.told.append((kwargs, response_obj, start_time, end_time))


def ask(call: Call, number: int, base_url: str) -> Exception | None:
    """Make the call as a client of the proxy would."""
    metadata: dict[str, Any] = {
        "user_api_key": "0" * 64,
        "user_api_key_alias": f"{call.team}-key" if call.team else None,
        "user_api_key_team_id": f"team-{call.team}" if call.team else None,
        "user_api_key_team_alias": call.team,
        "spend_logs_metadata": {"task": call.task} if call.task else None,
        "tags": [f"feature:{call.feature}"] if call.feature else [],
    }
    try:
        answer = litellm.completion(
            model=f"openai/{call.model}",
            messages=[{"role": "user", "content": "made up"}],
            api_base=base_url,
            api_key="none",
            metadata=metadata,
            stream=call.stream,
            stream_options={"include_usage": True} if call.stream else None,
            num_retries=0,
            max_retries=0,
            litellm_trace_id=f"session-{number}",
        )
        if call.stream:
            list(answer)
    except Exception as error:  # noqa: BLE001 - what the upstream refused
        return error
    return None


def row(kept: Keep, call: Call, number: int, error: Exception | None) -> dict[str, Any]:
    """The row, as the proxy's update_database makes it: the payload, and the cost in `spend`."""
    if error is None:
        kwargs, answer, start, end = kept.told[-1]
        payload = get_logging_payload(kwargs, answer, start, end)
        payload["spend"] = (kwargs.get("standard_logging_object") or kwargs).get("response_cost") or 0.0
    else:
        metadata = {
            "user_api_key": "0" * 64,
            "user_api_key_team_alias": call.team,
            "status": "failure",
            "error_information": StandardLoggingPayloadSetup.get_error_information(error),
            "spend_logs_metadata": {"task": call.task},
            "tags": [f"feature:{call.feature}"],
        }
        kwargs = {"model": call.model, "litellm_params": {"metadata": metadata}, "call_type": "acompletion"}
        kwargs |= {"custom_llm_provider": "openai", "litellm_call_id": f"made-up-failure-{number}"}
        now = datetime.now(UTC)
        payload = get_logging_payload(kwargs, {}, now, now)
        payload["spend"] = 0.0
        payload["request_id"] = f"made-up-failure-{number}"
    return _still(dict(payload), call, number)


def _still(made: dict[str, Any], call: Call, number: int) -> dict[str, Any]:
    """The row with times that do not change from run to run."""
    begin = BEGIN + timedelta(hours=7 * number, milliseconds=137)
    end = begin + timedelta(milliseconds=400 + 90 * number)
    first = begin + timedelta(milliseconds=210) if call.stream else end
    made |= {"startTime": begin, "endTime": end, "completionStartTime": first, "session_id": f"session-{number}"}
    made |= {"request_duration_ms": 400 + 90 * number, "api_base": "http://upstream.test/v1"}
    metadata = json.loads(made["metadata"])
    for name in HELD:
        metadata.pop(name, None)
    metadata["litellm_overhead_time_ms"] = None
    if metadata.get("error_information"):
        metadata["error_information"]["traceback"] = ""
    made["metadata"] = json.dumps(metadata)
    return made


def database(made: dict[str, Any]) -> dict[str, Any]:
    """The row as PostgreSQL's row_to_json gives it: nested JSON, times without a zone."""
    times = {name: value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] for name, value in made.items() if _is_time(value)}
    return {**made, **times, **{name: json.loads(made[name]) for name in JSON if isinstance(made.get(name), str)}}


def answered(made: dict[str, Any]) -> dict[str, Any]:
    """The row as /spend/logs answers it: the same with a zone."""
    return {
        **database(made),
        **{name: value.isoformat().replace("+00:00", "Z") for name, value in made.items() if _is_time(value)},
    }


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime)


def main() -> None:
    """Make the calls and write the three files."""
    kept = Keep()
    litellm.callbacks = [kept]
    litellm.suppress_debug_info = True
    rows = []
    with serving() as base_url:
        for number, call in enumerate(CALLS):
            before = len(kept.told)
            error = ask(call, number, base_url)
            patience = time.monotonic() + 10
            while error is None and len(kept.told) == before and time.monotonic() < patience:
                time.sleep(0.01)  # callbacks run in a thread of their own
            rows.append(row(kept, call, number, error))
    FOLDER.mkdir(exist_ok=True)
    lines = [json.dumps(database(one), separators=(",", ":")) for one in rows]
    (FOLDER / "litellm.jsonl").write_text("\n".join(lines) + "\n")
    (FOLDER / "litellm.json").write_text(json.dumps([answered(one) for one in rows], indent=1) + "\n")
    with (FOLDER / "litellm.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        for one in rows:
            cells = {n: v.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if _is_time(v) else v for n, v in one.items()}
            writer.writerow(["" if v is None else json.dumps(v) if isinstance(v, dict) else v for v in cells.values()])


if __name__ == "__main__":
    main()
