"""Options that several commands share, with one spelling and one help text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def policy_option(function: F) -> F:
    return click.option(
        "--policy", "policy_file", type=FILE, help="Policy file; else CHEAPFIRST_POLICY, cheapfirst.toml, built-in."
    )(function)


def ledger_option(function: F) -> F:
    return click.option(
        "--ledger",
        "ledger_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Ledger file; else CHEAPFIRST_LEDGER, the policy's, the user's data directory.",
    )(function)


def store_option(function: F) -> F:
    return click.option(
        "--store", help="File or postgresql:// URL of keys and budgets; else CHEAPFIRST_STORE, beside the ledger."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a screen.")(function)


def request_options(function: F) -> F:
    """What `run` and `explain` both take: the input and how it is to be served."""
    decorators: list[Callable[[Any], Any]] = [
        click.argument("task"),
        click.argument("text", required=False),
        click.option("--file", "input_file", type=FILE, help="Read the input from this file."),
        click.option("--schema", "schema_file", type=FILE, help="JSON Schema of the wanted value, as a file."),
        click.option("--feature", help="Which part of your product asks; recorded."),
        click.option("--tenant", help="Whose spend it is; recorded."),
        click.option("--session", help="Keeps prompt caches warm; recorded."),
        click.option("--tier", help="Force a tier."),
        click.option("--model", help="Force a model."),
        click.option("--max-tokens", type=click.IntRange(min=1), help="Hard limit on answer tokens."),
        click.option("--base-url", help="Another OpenAI-compatible server."),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def read_input(text: str | None, input_file: Path | None) -> str:
    """The input from the argument, a file, or stdin (`-`, or a pipe). Raises a usage error when there is none."""
    if text is not None and input_file is not None:
        raise click.UsageError("give the input as an argument or with --file, not both")
    if input_file is not None:
        return _text(input_file.read_bytes(), str(input_file))
    if text is not None and text != "-":
        return text
    if text is None and sys.stdin.isatty():
        raise click.UsageError("no input: give a text, --file FILE, or pipe it in")
    return _text(sys.stdin.buffer.read(), "the standard input")


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def read_schema_file(schema_file: Path | None) -> dict[str, Any] | None:
    """The JSON Schema in a file. Raises a usage error that says where the JSON breaks."""
    if schema_file is None:
        return None
    try:
        schema = json.loads(_text(schema_file.read_bytes(), str(schema_file)).removeprefix("\ufeff"))
    except RecursionError as error:
        raise click.UsageError(f"{schema_file}: too many values stand inside each other") from error
    except json.JSONDecodeError as error:
        raise click.UsageError(f"{schema_file}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(schema, dict):
        raise click.UsageError(f"{schema_file}: a JSON Schema is an object; this is {type(schema).__name__}")
    return schema


def given(**options: Any) -> dict[str, Any]:
    """Only the options that were given."""
    return {key: value for key, value in options.items() if value is not None}
