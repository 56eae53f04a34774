"""Schemathesis makes requests from the gateway's own OpenAPI document: no 500, no hang, and nothing stays open.

`CHEAPFIRST_SCHEMATHESIS_EXAMPLES=1000` looks further than a run of the whole suite has time for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from served import Served

EXAMPLES = int(os.environ.get("CHEAPFIRST_SCHEMATHESIS_EXAMPLES", "15"))
"""Of each kind for each operation."""

LIMIT = 20.0
"""Seconds after which a request hangs."""

ALLOWED = {200, 400, 401, 403, 404, 405, 406, 411, 413, 415, 422, 429}
"""What a client may be told. 422 is also an answer of the model that did not pass its checks."""


def operations(served: Served) -> list[APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_url(served.base_url.removesuffix("/v1") + "/openapi.json")
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_no_request_made_from_the_document_breaks_or_hangs_the_gateway(served: Served, mode: GenerationMode) -> None:
    called = set()
    for operation in operations(served):

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            answer = case.call(timeout=LIMIT)
            called.add(f"{case.method} {case.path}")
            assert answer.status_code in ALLOWED, (case.as_curl_command(), answer.status_code, answer.text[:500])
            if answer.status_code >= 400:
                said = answer.json()["error"]
                assert said["message"]
                assert "Traceback" not in answer.text

        with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parameters
            ask()
    assert "POST /v1/chat/completions" in called
    gateway = served.gateway
    assert (gateway.gate.running, gateway.gate.waiting, gateway.router.upstream.in_flight()) == (0, 0, 0)
