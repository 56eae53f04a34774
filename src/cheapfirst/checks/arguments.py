"""Holds the arguments of a tool call against the parameters that the tool declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cheapfirst.checks import schema
from cheapfirst.checks.paths import dotted, shown
from cheapfirst.errors import RequestError
from cheapfirst.messages import Finding, Wire

OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf")


def findings(arguments: Any, parameters: Wire | None) -> Sequence[Finding]:
    """What the declared parameters find wrong with a call's arguments, and arguments that were never declared.

    JSON Schema lets undeclared properties pass unless told otherwise; a function does not. A tool whose parameters
    are no usable JSON Schema is held to nothing.
    """
    if not parameters:
        return ()
    try:
        declared = schema.read(parameters)
    except RequestError:
        return ()
    found = list(declared.findings(arguments)) if declared is not None else []
    properties = parameters.get("properties")
    if isinstance(properties, dict) and isinstance(arguments, dict) and not any(key in parameters for key in OPEN):
        for name in arguments:
            if name not in properties:
                sentence = f"`{dotted((name,))}` is not a parameter of this tool: {shown(arguments[name])}."
                found.append(Finding(check="schema", code="schema.additional", sentence=sentence, path=(name,)))
    return found
