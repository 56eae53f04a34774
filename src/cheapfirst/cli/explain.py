"""`cheapfirst explain TASK`: which attempts the policy allows for a request, and why. Calls nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cheapfirst.cli import options, screen
from cheapfirst.messages import Plan
from cheapfirst.money import show
from cheapfirst.router import Router


@click.command()
@options.request_options
@click.option("--stream", "streamed", is_flag=True, help="Plan it as a streamed request.")
@options.json_option
@options.policy_option
def command(
    task: str,
    text: str | None,
    input_file: Path | None,
    schema_file: Path | None,
    base_url: str | None,
    streamed: bool,
    as_json: bool,
    policy_file: Path | None,
    **request: Any,
) -> None:
    """Print the plan of a request of TASK on TEXT (or --file, or stdin) without calling anyone."""
    said = options.read_input(text, input_file)
    given = options.given(schema=options.read_schema_file(schema_file), **request)
    with Router(policy_file, base_url=base_url, ledger=False) as router:
        plan = router.explain(task, said, stream=streamed, **given)
    if as_json:
        screen.print_json(plan)
    else:
        _print(plan)


WHEN = {
    "start": "first",
    "downgrade": "form refused",
    "cut-off": "cut off",
    "fault": "provider fails",
    "re-ask": "rejected",
    "reject": "rejected",
}


def _print(plan: Plan) -> None:
    out = screen.console()
    out.print(f"{'; '.join(plan.reasons)}.", style="bold", markup=False, soft_wrap=True)
    out.print("Attempts allowed, cheapest first:")
    for number, planned in enumerate(plan.attempts, start=1):
        form = "" if planned.form == "none" else f"{planned.form}, "
        out.print(f"{number:>3}  {WHEN[planned.on]:<15}{planned.tier}: {planned.model}", markup=False, soft_wrap=True)
        out.print(
            f"{'':20}{form}{planned.max_tokens:,} tokens of room, at most {show(planned.worst_case)}\n"
            f"{'':20}{'; '.join(planned.reasons)}",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
    for skip in plan.skipped:
        out.print(f"skipped {skip.model} ({skip.tier}): {skip.reason}", soft_wrap=True, markup=False)
    most = f", {show(plan.max_cost)} in all" if plan.max_cost is not None else ""
    out.print(
        f"Bounds: {plan.max_attempts} upstream calls, {plan.retries} retries of one call, {plan.deadline:g} s{most}\n"
        f"Checks: {', '.join(plan.checks) or 'none'}; if the last tier's answer is bad: {plan.on_reject}\n"
        f"Prompt: about {plan.prompt_tokens:,} tokens; policy {plan.policy_hash}",
        soft_wrap=True,
        markup=False,
    )
