"""Writes docs/reference/cli.md from the commands' own help, or with --check says whether it is current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cheapfirst.cli import root as program

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """# The command line

Written by `python -m scripts.cli_reference` from the commands' own help; `--check` says whether it is current.
"""


def commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield every command's full name and its help, depth first."""
    settings = {**program.context_settings, **command.context_settings}
    context = click.Context(command, info_name=path.rsplit(" ", 1)[-1], parent=parent, terminal_width=100, **settings)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from commands(below, f"{path} {name}", context)


def page() -> str:
    """Return the whole page."""
    parts = [f"## {path}\n\n```text\n{text.strip()}\n```\n" for path, text in commands(program, "cheapfirst")]
    return "\n".join([HEAD, *parts])


def main(arguments: list[str]) -> int:
    """Write the page; with --check, write nothing and return 1 when it is not current."""
    if "--check" in arguments:
        if PAGE.is_file() and PAGE.read_text("utf-8") == page():
            return 0
        print("docs/reference/cli.md is not current: run python -m scripts.cli_reference", file=sys.stderr)
        return 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
