"""The plain baseline: strict decoding of a recorded answer and a schema check of names, presence and types."""

from __future__ import annotations

import ast
import json
import keyword
import re
from typing import Any

Row = dict[str, Any]
Call = tuple[str, Row]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "tuple": (list, tuple),
    "dict": (dict,),
    "object": (dict,),
}


_MARK = "_reserved_in_python"
_RESERVED = re.compile(rf"(?<=[(,\s])({'|'.join(map(str.lower, keyword.kwlist))})(?=\s*=[^=])")


def decode(out: Any, *, python: bool = True) -> list[Call] | None:
    """The calls of a recorded answer as strict decoding reads them; None when it cannot.

    Native tool calls are `[{name: arguments as JSON}]`; prompted ones are a Python list of calls with keywords only.
    Without `python`, names that only Python reserves (`from`) are names like others, as they are in Java.
    """
    if isinstance(out, list):
        return _native(out)
    if not isinstance(out, str):
        return None
    calls = _prompted(out.strip() if python else _RESERVED.sub(rf"\1{_MARK}", out.strip()))
    if python or calls is None:
        return calls
    return [(name, {key.removesuffix(_MARK): value for key, value in given.items()}) for name, given in calls]


def fits(calls: list[Call] | None, functions: list[Row], *, typed: bool) -> bool:
    """Whether decoded calls name declared functions, give what is required, nothing else, and of the right types."""
    if not calls:
        return False
    declared = {function["name"]: function["parameters"] for function in functions}
    declared |= {name.replace(".", "_"): parameters for name, parameters in declared.items()}
    return all(name in declared and _arguments_fit(given, declared[name], typed) for name, given in calls)


def same(calls: list[Call] | None, value: Any) -> bool:
    """Whether a value as `calls.read` gives it is what strict decoding gave, up to the dots of function names."""
    if not calls or not isinstance(value, list):
        return False
    decoded = [{"name": name.replace(".", "_"), "arguments": given} for name, given in calls]
    read = [{**call, "name": call["name"].replace(".", "_")} for call in value]
    return _canonical(decoded) == _canonical(read)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _native(out: list[Any]) -> list[Call] | None:
    calls = []
    for part in out:
        if not isinstance(part, dict):
            return None
        for name, given in part.items():
            try:
                arguments = json.loads(given) if isinstance(given, str) else given
            except ValueError:
                return None
            if not isinstance(arguments, dict):
                return None
            calls.append((name, arguments))
    return calls


def _prompted(text: str) -> list[Call] | None:
    text = text if text.startswith("[") else "[" + text
    text = text if text.endswith("]") else text + "]"
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if not isinstance(tree, ast.List):
        return None
    calls = []
    for node in tree.elts:
        if not isinstance(node, ast.Call) or node.args or any(one.arg is None for one in node.keywords):
            return None
        calls.append((ast.unparse(node.func), {str(one.arg): _literal(one.value) for one in node.keywords}))
    return calls


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.unparse(node)


def _arguments_fit(given: Row, parameters: Row, typed: bool) -> bool:
    properties = parameters.get("properties", {})
    if any(name not in given for name in parameters.get("required", [])):
        return False
    if any(name not in properties for name in given):
        return False
    return not typed or all(_value_fits(value, properties[name]) for name, value in given.items())


def _value_fits(value: Any, spec: Row) -> bool:
    wanted = _TYPES.get(str(spec.get("type")))
    if wanted and (not isinstance(value, wanted) or (wanted == (int,) and isinstance(value, bool))):
        return False
    return not (spec.get("enum") and isinstance(value, str) and value not in spec["enum"])
