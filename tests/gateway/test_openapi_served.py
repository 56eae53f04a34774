"""The document that a running gateway serves at /openapi.json, and what it answers beside it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.simulator import serve_in_thread as simulate


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with simulate() as simulator, serve_in_thread(base_url=simulator.base_url, ledger=False) as gateway:
        yield gateway.base_url.removesuffix("/v1")


@pytest.fixture(scope="module")
def document(base: str) -> Any:
    return call(base, "GET", "/openapi.json")[1]


def call(base: str, method: str, path: str, body: Any = None) -> tuple[int, Any, Message]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(base + path, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def fits(document: Any, name: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    errors = [error.message for error in OAS31Validator(schema).iter_errors(value)]
    assert errors == []
    return True


MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.mark.parametrize(
    ("path", "body", "schema"),
    [
        ("/v1/chat/completions", {"model": "auto", "messages": MESSAGES}, "Chat"),
        ("/v1/responses", {"model": "auto", "input": "Where is my parcel?"}, "Responses"),
        ("/v1/responses", {"input": MESSAGES, "text": {"format": {"type": "text"}}}, "Responses"),
        ("/v1/messages", {"model": "auto", "max_tokens": 50, "messages": MESSAGES}, "Messages"),
    ],
)
def test_answers_are_as_the_document_says(base: str, document: Any, path: str, body: Any, schema: str) -> None:
    assert fits(document, f"{schema}Request", body)
    status, told, headers = call(base, "POST", path, body)
    assert status == 200
    assert fits(document, f"{schema}Answer", told)
    described = document["paths"][path]["post"]["responses"]["200"]["headers"]
    assert {name for name in map(str.lower, headers) if name.startswith("x-cheapfirst")} <= described.keys()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/responses", {"input": 3}, 400),
        ("POST", "/v1/chat/completions", {}, 400),
        ("POST", "/v1/chat/completions", {"model": "x/y", "messages": MESSAGES}, 404),
        ("GET", "/v1/models/nobody%2Fknows", None, 404),
        ("DELETE", "/v1/models", None, 405),
        ("PUT", "/v1/responses", None, 405),
    ],
)
def test_refusals_are_as_the_document_says(
    base: str, document: Any, method: str, path: str, body: Any, status: int
) -> None:
    got, told, headers = call(base, method, path, body)
    assert got == status
    assert fits(document, "Error", told)
    assert (headers["allow"] is not None) == (status == 405)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/models", "ListedModels"),
        ("/v1/models/auto", "ListedModel"),
        ("/health", "Health"),
        ("/health/live", "Health"),
        ("/health/ready", "Health"),
    ],
)
def test_pages_are_as_the_document_says(base: str, document: Any, path: str, schema: str) -> None:
    status, told, _ = call(base, "GET", path)
    assert status == 200
    assert fits(document, schema, told)
