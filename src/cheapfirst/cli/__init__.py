"""The `cheapfirst` command: one module per command, imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

COMMANDS = {
    "demo": "the whole story in a minute, no key needed",
    "run": "one request, with its trail",
    "explain": "the plan of a request, without calling anyone",
    "serve": "the gateway: point any OpenAI client's base URL at it",
    "report": "what was saved, what escalated and why, what each feature cost",
    "ledger": "other tools' logs in, everything out, and its books against the upstream's",
    "why": "one request's story: its plan, its attempts, its bill",
    "estimate": "the monthly bill for your own mix, before you change anything",
    "keys": "virtual keys: who may use the gateway, and for what",
    "budgets": "what each budget has spent, reserved and left",
    "policy": "check, show and compare policies",
    "catalog": "prices and capabilities of models",
    "simulator": "a local upstream with seeded faults, to test against",
}
"""Command -> one line of help. Each lives in the module of its name and has a click command called `command`."""


class LazyGroup(click.Group):
    """A group that imports a command's module when that command is called, so that the others cost nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found = import_module(f"cheapfirst.cli.{name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cheapfirst", message="cheapfirst %(version)s")
def root() -> None:
    """Send every LLM request to the cheapest model that still does the job.

    New here? Run `cheapfirst demo`: it needs no key and no configuration.

    Exit codes: 0 done, 1 the request or the check failed, 2 the command was called wrongly, 130 interrupted.
    """


def main() -> None:
    """Run the command line; turn our errors into a sentence on stderr and exit code 1."""
    from cheapfirst.errors import CheapfirstError

    try:
        code = root.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CheapfirstError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader (head, less) has gone: nobody is left to tell
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # the disk behind the standard output is full
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
