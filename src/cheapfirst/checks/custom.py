"""The user's own checks: plain Python functions, found by import path or by the name they were registered under."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.errors import PolicyError
from cheapfirst.messages import Finding
from cheapfirst.policy.checks import Custom, Python, name_of

Function = Callable[[Any, Context], object]
"""`function(value, context)`. None, True or nothing listed: fine. False, a sentence, a Finding or several: not."""


def load(call: str) -> Function:
    """The function behind `package.module:function`. Raises PolicyError saying what cannot be found."""
    module_name, _, name = call.partition(":")
    try:
        found = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise PolicyError(
            [
                f"python check {call!r} cannot be imported ({type(error).__name__}: {error}). "
                "Write `package.module:function`"
            ]
        ) from error
    if not callable(found):
        raise PolicyError([f"python check {call!r} is not a function. Write `package.module:function`"])
    return found


def run(
    value: Any, context: Context, check: Custom | Python, registered: Mapping[str, Function]
) -> tuple[Finding, ...]:
    """Call the user's function and read its answer as findings. Never raises: what it raises becomes a finding.

    Codes: python.rejected, python.error (it raised, is missing or returned something else). The exception's text
    stays out of the finding, because it may quote the answer.
    """
    name = name_of(check)
    key = check.name if isinstance(check, Custom) else check.call
    try:
        function = registered.get(key) or (load(key) if isinstance(check, Python) else None)
        if function is None:
            return (_error(name, f"no function is registered under {key!r}; give it to Router(checks=...)"),)
        return tuple(_read(name, function(value, context)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises must not end the request or its loop
        return (_error(name, f"it raised {type(error).__name__}"),)


def _read(name: str, result: object) -> Iterator[Finding]:
    match result:
        case None | True:
            return
        case False:
            yield _rejected(name, "it said no")
        case str():
            yield _rejected(name, result)
        case Finding():
            yield result
        case Coroutine():
            result.close()
            yield _error(name, "it is async; a check is a plain function")
        case Iterable():
            for item in result:
                if not isinstance(item, str | Finding):
                    yield _error(name, f"it listed a {type(item).__name__}; sentences or Findings are expected")
                    return
                yield from _read(name, item)
        case _:
            yield _error(
                name, f"it returned a {type(result).__name__}; None, a bool, sentences or Findings are expected"
            )


def _rejected(name: str, sentence: str) -> Finding:
    return Finding(check=name, code="python.rejected", sentence=f"Check {name}: {sentence}")


def _error(name: str, what: str) -> Finding:
    return Finding(check=name, code="python.error", sentence=f"Check {name} could not be run: {what}.")
