"""The caller's schema: reads JSON Schema, pydantic models and plain Python types, and says everything an answer lacks.

Never does I/O: a `$ref` that points outside the schema is an error, not a download. Regular expressions run on a
linear-time engine; the few that need look-around run with a bounded number of steps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import msgspec

from cheapfirst.checks.paths import dotted, shown
from cheapfirst.errors import RequestError
from cheapfirst.messages import Finding, Path, Wire

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

MAX_FINDINGS = 100
"""Failures reported one by one; a last finding counts the rest."""

BACKTRACKS = 100_000
"""Steps allowed to a pattern with look-around before the value counts as not matching."""

Convert = Callable[[Any], Any]

_CODES = {
    "additionalProperties": "additional",
    "unevaluatedProperties": "additional",
    "additionalItems": "additional_items",
    "unevaluatedItems": "additional_items",
    "anyOf": "any_of",
    "oneOf": "one_of",
    "multipleOf": "multiple_of",
    "exclusiveMinimum": "minimum",
    "exclusiveMaximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
    "uniqueItems": "unique_items",
    "propertyNames": "property_names",
    "contentEncoding": "content",
    "contentMediaType": "content",
    "falseSchema": "never",
    "backtrackLimitExceeded": "pattern",
}


class Schema:
    """A schema ready for use: `json` goes on the wire, `findings` judges a value, `convert` makes the caller's type."""

    __slots__ = ("_convert", "_formats", "_validator", "json")

    def __init__(self, json: Wire, convert: Convert | None = None, *, formats: bool = True) -> None:
        self.json = json
        self._convert = convert
        self._formats = formats
        self._validator: Validator | None = None  # None: not needed yet

    def __repr__(self) -> str:
        return f"Schema({shown(self.json)})"

    def findings(self, value: Any) -> tuple[Finding, ...]:
        """Everything the schema finds wrong with a parsed JSON value; empty when it fits. Never raises."""
        if self._validator is None:
            self._validator = _compiled(_content(self.json), self._formats)
        validator = self._validator
        try:
            if validator.is_valid(value):
                return ()
            errors = list(validator.iter_errors(value))
        except (ValueError, RecursionError) as error:
            what = "text that is not valid Unicode" if isinstance(error, UnicodeError) else "more than JSON can hold"
            return (_finding("schema.unreadable", f"The value holds {what}, so the schema cannot be applied.", ()),)
        found = [_described(error) for error in errors[:MAX_FINDINGS]]
        if len(errors) > MAX_FINDINGS:
            found.append(_finding("schema.more", f"{len(errors) - MAX_FINDINGS} more failures are not listed.", ()))
        return tuple(found)

    def typed(self, value: Any) -> tuple[Any, tuple[Finding, ...]]:
        """The value as the caller's own type, or unchanged with what that type's validators say. Never raises.

        A plain JSON Schema has no type of its own: the value comes back as it is.
        """
        if self._convert is None:
            return value, ()
        try:
            return self._convert(value), ()
        except Exception as error:  # noqa: BLE001 - the caller's validators may raise anything; it is their verdict
            return value, _refused(error)

    def convert(self, value: Any) -> Any:
        """The value as the caller's own type; unchanged when there is none, or when it refuses (`typed` says why)."""
        return self.typed(value)[0]


def read(schema: object) -> Schema | None:
    """Read what the caller gave as a schema; None stays None.

    Accepted: a JSON Schema as a dict, a pydantic model class or `TypeAdapter`, and any type msgspec understands
    (dataclass, msgspec Struct, TypedDict, Literal, `list[...]`, unions of those). A ready `Schema` comes back as it
    is. Raises RequestError saying where and why when it cannot be used.
    """
    if schema is None or isinstance(schema, Schema):
        return schema
    if isinstance(schema, dict):
        made = Schema(schema)
        made._validator = _compiled(_content(schema), True)
        return made
    try:
        return _of_type(schema)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _of_type.__wrapped__(schema)


@lru_cache(maxsize=256)
def _of_type(kind: object) -> Schema:
    adapter = _pydantic(kind)
    try:
        if adapter is not None:
            make, validate = adapter
            document, convert = make(), lambda value: validate(json.dumps(value))
        else:
            document = msgspec.json.schema(kind)
            convert = lambda value: msgspec.convert(value, kind)  # noqa: E731
    except Exception as error:
        raise RequestError(
            f"schema: {shown(kind)} cannot be used as a schema: {error}. Give a JSON Schema dict, a pydantic model, "
            "a dataclass, a msgspec Struct, a TypedDict or a type made of them."
        ) from error
    document = _rooted(document)
    _compiled(_content(document), False)
    return Schema(document, convert, formats=False)


def _pydantic(kind: object) -> tuple[Callable[[], Wire], Convert] | None:
    """How pydantic describes and validates this type; None when it is not pydantic's."""
    if hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json"):
        return kind.model_json_schema, kind.model_validate_json
    if hasattr(kind, "json_schema") and hasattr(kind, "validate_json"):
        return kind.json_schema, kind.validate_json
    if any(_pydantic(part) for part in get_args(kind)):
        # Whoever holds a pydantic model has imported pydantic; this module must not be the one that does.
        adapter = sys.modules["pydantic"].TypeAdapter(kind)
        return adapter.json_schema, adapter.validate_json
    return None


def _rooted(document: Wire) -> Wire:
    """The same schema with its root spelled out: upstreams want an object at the root, not a `$ref`."""
    reference = document.get("$ref")
    if not isinstance(reference, str):
        return document
    holder, _, name = reference.removeprefix("#/").partition("/")
    root = document.get(holder, {}).get(name)
    if not isinstance(root, dict):
        return document
    merged = {**root, **{key: part for key, part in document.items() if key != "$ref"}}
    used = f'"{reference}"' in json.dumps({"root": root, "others": document[holder]})
    others = {key: part for key, part in document[holder].items() if used or key != name}
    return {**merged, holder: others} if others else {key: part for key, part in merged.items() if key != holder}


def _content(document: Wire) -> bytes:
    try:
        return msgspec.json.encode(document)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise RequestError(
            f"schema: it is not plain JSON ({error}). Give a JSON Schema made of JSON values."
        ) from error


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to something outside itself ({uri})")


@lru_cache(maxsize=256)
def _compiled(content: bytes, formats: bool) -> Validator:
    import jsonschema_rs

    document = json.loads(content)
    engines: list[jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions]
    engines = [jsonschema_rs.RegexOptions(), jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS)]
    for last, options in enumerate(engines):
        try:
            return jsonschema_rs.validator_for(
                document, validate_formats=formats, retriever=_refuse, pattern_options=options
            )
        except jsonschema_rs.ValidationError as error:
            if last or error.kind.name not in ("pattern", "format"):
                where = dotted(error.instance_path) or "its root"
                raise RequestError(
                    f"schema: unusable at {where}: {error.message}. Correct the schema; nothing was sent."
                ) from error
        except (ValueError, RecursionError) as error:
            raise RequestError(f"schema: unusable: {error}. Correct the schema; nothing was sent.") from error
    raise AssertionError("both engines return or raise")


def _finding(code: str, sentence: str, path: Path) -> Finding:
    return Finding(check="schema", code=code, sentence=sentence, path=path)


def _described(error: ValidationError) -> Finding:
    path = tuple(error.instance_path)
    name = error.kind.name
    code = "schema." + _CODES.get(name, name)
    return _finding(code, f"{_place(path)} {_complaint(name, error)}.", path)


def _place(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "The answer"


def _complaint(name: str, error: ValidationError) -> str:
    """What was expected and what stands there, as the second half of a sentence."""
    kind: Any = error.kind
    got = shown(error.instance)
    match name:
        case "required":
            return f"must have the property `{kind.property}`, and it is missing"
        case "type":
            return f"must be {' or '.join(kind.types)}, and is {_json_type(error.instance)}: {got}"
        case "enum":
            return f"must be one of {_listed(kind.options)}, and is {got}"
        case "const":
            return f"must be {shown(kind.expected_value)}, and is {got}"
        case "additionalProperties" | "unevaluatedProperties":
            return f"may not have {_listed(kind.unexpected)}: the schema does not declare it"
        case "pattern":
            return f"must match the pattern {shown(kind.pattern)}, and is {got}"
        case "format":
            return f"must be a valid {kind.format}, and is {got}"
        case "backtrackLimitExceeded":
            return f"was too much work for its pattern, so it counts as no match: {got}"
        case "falseSchema":
            return f"must not be there, and is {got}"
        case _ if hasattr(kind, "limit"):
            return f"must keep {name} {shown(kind.limit)}, and is {got}"
        case _:
            return f"breaks `{name}`: {shown(error.message, 200)}"


def _listed(options: Iterable[Any]) -> str:
    some = [shown(option) for option in options]
    return ", ".join(some[:12]) + (f" and {len(some) - 12} more" if len(some) > 12 else "")


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _refused(error: Exception) -> tuple[Finding, ...]:
    """What the caller's type said: pydantic's list of errors, msgspec's single one, or a validator's own exception."""
    listing = getattr(error, "errors", None)
    if callable(listing):
        try:
            found = listing()
            return tuple(
                _finding(
                    "schema.type_check",
                    f"{_place(tuple(item['loc']))} was refused: {item['msg']}.",
                    tuple(item["loc"]),
                )
                for item in found[:MAX_FINDINGS]
            )
        except Exception:  # noqa: BLE001 - an exception of the user's own that has something else called `errors`
            return (_finding("schema.type_check", f"The caller's type refused it: {type(error).__name__}.", ()),)
    if isinstance(error, msgspec.ValidationError):
        return (_finding("schema.type_check", f"The caller's type refused it: {error}.", ()),)
    return (_finding("schema.type_check", f"The caller's type refused it: {type(error).__name__}.", ()),)
