"""The OpenAPI document: valid, complete, and true to what the gateway answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from cheapfirst import __version__
from cheapfirst.gateway import openapi
from cheapfirst.gateway.faces.face import FACES
from cheapfirst.gateway.pages import PAGES
from cheapfirst.messages import Wire


@pytest.fixture(scope="module")
def document() -> Wire:
    made: Wire = json.loads(json.dumps(openapi.document(__version__, [*FACES, *PAGES], ["cheap", "premium"])))
    return made


def test_the_document_is_valid_openapi(document: Wire) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_path_of_the_gateway_is_described(document: Wire) -> None:
    for path in FACES:
        assert "post" in document["paths"][path]
    for path in PAGES:
        assert "get" in document["paths"][path]


def test_what_passes_through_is_described(document: Wire) -> None:
    assert "default" in document["paths"]["/v1/embeddings"]["post"]["responses"]


def test_paths_that_are_not_served_are_left_out() -> None:
    assert "/v1/chat/completions" not in openapi.document("1", ["/health"], [])["paths"]


def test_every_reference_leads_somewhere(document: Wire) -> None:
    for reference in _references(document):
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found


def test_operation_ids_are_unique(document: Wire) -> None:
    ids = [operation["operationId"] for path in document["paths"].values() for operation in _operations(path)]
    assert len(ids) == len(set(ids))


def _operations(path: Wire) -> Iterator[Wire]:
    return (value for key, value in path.items() if key != "parameters")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
