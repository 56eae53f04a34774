"""`cheapfirst run TASK`: one request; the answer on stdout, its trail on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cheapfirst import story
from cheapfirst.cli import options, screen
from cheapfirst.errors import RequestFailed
from cheapfirst.messages import Answer
from cheapfirst.router import Router


@click.command()
@options.request_options
@click.option("--stream", "streamed", is_flag=True, help="Print the text as it comes (routes with stream = pass).")
@click.option("--quiet", is_flag=True, help="No trail on stderr.")
@options.json_option
@options.policy_option
@options.ledger_option
def command(
    task: str,
    text: str | None,
    input_file: Path | None,
    schema_file: Path | None,
    base_url: str | None,
    streamed: bool,
    quiet: bool,
    as_json: bool,
    policy_file: Path | None,
    ledger_file: Path | None,
    **request: Any,
) -> None:
    """Run one request of TASK on TEXT (or --file, or stdin) and print its answer.

    The answer goes to stdout, the trail (what was tried, why, at what cost) to stderr.
    Set OPENROUTER_API_KEY to use the real service.
    """
    said = options.read_input(text, input_file)
    given = options.given(schema=options.read_schema_file(schema_file), **request)
    with Router(policy_file, base_url=base_url, ledger=ledger_file) as router:
        try:
            if streamed and not as_json:
                stream = router.stream(task, said, **given)
                for piece in stream:
                    click.echo(piece, nl=False)
                click.echo()
                assert stream.answer is not None, "a stream that ended well has its answer"
                answer = stream.answer
            else:
                answer = router.run(task, said, **given)
                _print(answer, as_json)
        except RequestFailed as error:
            if not quiet:
                for attempt in error.attempts:
                    click.echo(f"{attempt.number}. {story.line(attempt)}", err=True)
            raise
    if not quiet:
        click.echo(answer.why, err=True)


def _print(answer: Answer, as_json: bool) -> None:
    if as_json:
        screen.print_json(answer)
    elif isinstance(answer.value, str):
        click.echo(answer.value)
    else:
        click.echo(json.dumps(answer.value, indent=2, ensure_ascii=False))
