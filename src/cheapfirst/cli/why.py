"""`cheapfirst why REQUEST_ID`: why one request went where it went and cost what it cost, from the ledger alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.ledger import locate, record
from cheapfirst.money import show
from cheapfirst.story import LED_HERE


@click.command()
@click.argument("request_id", default=record.LAST)
@options.json_option
@options.ledger_option
@options.policy_option
def command(request_id: str, as_json: bool, ledger_file: Path | None, policy_file: Path | None) -> None:
    """Tell the story of one request: its plan, each attempt with its verdict and cost, and the bill.

    REQUEST_ID is the answer's request_id, or its beginning; absent: the latest request.
    """
    path = ledger_file if ledger_file is not None else locate(policies.load(policy_file).ledger.path)
    found = record.find(path, request_id)
    if as_json:
        screen.print_json(found)
    else:
        _print(found)


def _print(found: record.Record) -> None:
    request = found.request
    out = screen.console()
    for text, style in (
        (request["id"], "bold"),
        (_about(request), ""),
        *((f"{reason.rstrip('.')}.", "") for reason in found.plan.get("reasons", ())),
        *((line(attempt), "") for attempt in found.attempts),
        (_bill(request), ""),
        (_tokens(request), "dim"),
        (_allowed(found), "dim"),
    ):
        if text:
            out.print(text, style=style or None, markup=False, soft_wrap=True)


def line(attempt: Mapping[str, Any]) -> str:
    """One attempt in a line: why it was made, by which model, what came back, what it cost, how long it took."""
    steps = [step for step in attempt["trail"] if step != "strict"]
    read = f" (read with {', '.join(steps)})" if steps else ""
    provider = f" at {attempt['provider']}" if attempt["provider"] else ""
    return (
        f"{attempt['number']}. {LED_HERE[attempt['on']]}{attempt['tier']} {attempt['model_served']}{provider}: "
        f"{_result(attempt)}{read}, {show(attempt['cost'])}, {attempt['duration']:.2f} s"
    )


def _result(attempt: Mapping[str, Any]) -> str:
    reasons = ", ".join(f"{one['code']}{' at ' + one['path'] if one.get('path') else ''}" for one in attempt["reasons"])
    if attempt["fault"] is not None:
        status = f" ({attempt['fault_status']})" if attempt["fault_status"] is not None else ""
        return f"fault {attempt['fault']}{status}"
    if attempt["outcome"] == "doomed":
        return f"cut while it streamed: {reasons}"
    if attempt["outcome"] == "cut-off" and "repetition" not in reasons:
        return f"cut off at {attempt['max_tokens']:,} tokens"
    if attempt["accepted"]:
        return "accepted"
    given = " and given out all the same" if attempt["won"] else ""
    return f"rejected{given}: {reasons or 'no reason was recorded'}"


def _about(request: Mapping[str, Any]) -> str:
    when = datetime.fromtimestamp(request["time"]).astimezone().isoformat(sep=" ", timespec="seconds")
    owners = [f"{name} {request[name]}" for name in ("feature", "tenant", "session", "key") if request[name]]
    forced = ", forced" if request["forced"] else ""
    error = f" by {request['error']}" if request["error"] else ""
    first = f" (first text after {request['first_token']:.2f} s)" if request["first_token"] is not None else ""
    return (
        f"{request['task']}{forced}{', ' if owners else ''}{', '.join(owners)}; {when}; "
        f"{request['ending']}{error} in {request['duration']:.2f} s{first}"
    )


def _bill(request: Mapping[str, Any]) -> str:
    cost, baseline = request["cost"], request["baseline"]
    if cost is None:
        known = f"at least {show(request['cost_known'])}: what {request['unknown_attempts']} attempt(s) cost is unknown"
        return f"Cost {known}. On the premium model alone {show(baseline)}."
    saved = f", {show(baseline - cost)} saved" if baseline is not None and baseline > cost else ""
    return f"Cost {show(cost)}; on the premium model alone {show(baseline)}{saved}."


def _tokens(request: Mapping[str, Any]) -> str:
    if request["prompt_tokens"] is None:
        return ""
    parts = [
        (request["cached_tokens"], "read from a cache"),
        (request["cache_write_tokens"], "written to one"),
    ]
    inside = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    reasoning = f" ({request['reasoning_tokens']:,} of them reasoning)" if request["reasoning_tokens"] else ""
    return (
        f"{request['prompt_tokens']:,} tokens in{f' ({inside})' if inside else ''}, "
        f"{request['completion_tokens']:,} out{reasoning}."
    )


def _allowed(found: record.Record) -> str:
    plan = found.plan
    allowed = ", ".join(dict.fromkeys(f"{one['tier']} {one['model']}" for one in plan.get("attempts", ())))
    checks = ", ".join(plan.get("checks", ()))
    return (
        f"Policy {found.request['policy_hash']} allowed: {allowed or 'unknown'}."
        f"{f' Checks: {checks}.' if checks else ''}"
    )
