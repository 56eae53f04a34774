"""Which paths and headers pass through, and what a witness reads of what passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.gateway.passthrough import paths
from cheapfirst.gateway.passthrough.witness import KEPT, Witness
from cheapfirst.gateway.problem import Refused

SERVED = ("/v1/chat/completions", "/v1/responses", "/v1/models", "/health")


@pytest.mark.parametrize(
    ("path", "passing"),
    [
        ("/v1/embeddings", True),
        ("/v1/audio/speech", True),
        ("/v1/modelsx", True),
        ("/v1/chat/completions", False),
        ("/v1/chat/completions/", False),
        ("/v1/responses/resp_1", False),
        ("/v1/models/a/b", False),
        ("/health", False),
        ("/embeddings", False),
        ("/v2/embeddings", False),
        ("/v1", False),
    ],
)
def test_only_what_the_gateway_does_not_serve_passes(path: str, passing: bool) -> None:
    assert paths.passes(path, SERVED) is passing


def target(path: str, query: bytes = b"", method: str = "POST", raw: bytes | None = None) -> str:
    return paths.target(path, path.encode() if raw is None else raw, query, method)


@pytest.mark.parametrize(
    ("path", "query", "made"),
    [
        ("/v1/embeddings", b"", "/embeddings"),
        ("/v1/audio/speech", b"a=b%20c", "/audio/speech?a=b%20c"),
        ("/v1/model/a/b-1.5:free", b"", "/model/a/b-1.5:free"),
    ],
)
def test_a_plain_path_leads_to_the_same_path_upstream(path: str, query: bytes, made: str) -> None:
    assert target(path, query) == made


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../key",
        "/v1/embeddings/..",
        "/v1/./embeddings",
        "/v1/.../embeddings",
        "/v1//embeddings",
        "/v1/http://evil.example/x",
        "/v1/embeddings/",
        "/v1/em beddings",
        "/v1/embed\\..\\key",
        "/v1/embed?x",
        "/v1/embed#x",
        "/v1/embed\r\nx: y",
        "/v1/émbed",
        "/v1/a;b=c",
    ],
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(Refused) as caught:
        target(path)
    assert caught.value.problem.code == "path_not_plain"


@pytest.mark.parametrize("raw", [b"/v1/%65mbeddings", b"/v1/%2e%2e/key", b"/v1/a%2fb"])
def test_an_encoded_path_is_refused_whatever_it_means(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        target("/v1/embeddings", raw=raw)
    assert caught.value.problem.code == "path_not_plain"


@pytest.mark.parametrize("path", ["/v1/key", "/v1/keys/abc", "/v1/KEYS", "/v1/credits", "/v1/files/file_1/content"])
def test_the_account_and_what_is_stored_there_do_not_pass(path: str) -> None:
    with pytest.raises(Refused) as caught:
        target(path, method="GET")
    assert (caught.value.problem.status, caught.value.problem.code) == (403, "path_not_passed")


@pytest.mark.parametrize("query", [b"a=\r\nb", b"a b", b"#x", b"\xff", b"a" * 3000])
def test_a_query_that_is_not_plain_is_refused(query: bytes) -> None:
    with pytest.raises(Refused):
        target("/v1/embeddings", query)


@given(st.text(), st.binary(max_size=20))
def test_no_path_leads_out_of_the_upstream(tail: str, query: bytes) -> None:
    try:
        made = target(f"/v1/{tail}", query)
    except Refused:
        return
    assert made.startswith("/")
    assert not made.startswith("//")
    assert ".." not in made.partition("?")[0].split("/")
    assert made.isascii()
    assert made.isprintable()


def test_the_clients_key_and_hop_headers_stay_here() -> None:
    given_headers = {
        b"authorization": b"Bearer secret",
        b"x-api-key": b"secret",
        b"cookie": b"secret",
        b"host": b"here",
        b"connection": b"x-secret",
        b"transfer-encoding": b"chunked",
        b"x-forwarded-for": b"1.2.3.4",
        b"content-type": b"audio/wav",
        b"accept": b"*/*",
    }
    assert paths.sent(given_headers) == {"content-type": "audio/wav", "accept": "*/*"}


def test_the_upstreams_cookies_and_hop_headers_stay_there() -> None:
    given_headers = {
        "content-type": "audio/mpeg",
        "content-length": "9",
        "content-encoding": "gzip",
        "transfer-encoding": "chunked",
        "set-cookie": "a=b",
        "x-ratelimit-remaining": "3",
        "x-cheapfirst-cost": "0",
    }
    assert paths.returned(given_headers) == [(b"content-type", b"audio/mpeg"), (b"x-ratelimit-remaining", b"3")]


USAGE = {"prompt_tokens": 7, "total_tokens": 7, "cost": 0.00000123}


def seen(text: str, cut: int = 1000) -> Any:
    witness = Witness()
    data = text.encode()
    for at in range(0, len(data), cut):
        witness.see(data[at : at + cut])
    return witness.seen()


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 50))
def test_a_whole_answers_usage_is_read_exactly(texts: list[str], cut: int) -> None:
    told = seen(json.dumps({"data": texts, "model": "m", "id": "gen-1", "usage": USAGE}), cut)
    assert told.usage == {**USAGE, "cost": "1.23e-06"}
    assert (told.model, told.id) == ("m", "gen-1")


@pytest.mark.parametrize("size", [KEPT - 60, 2 * KEPT, 9 * KEPT])
def test_usage_is_found_at_the_end_of_a_large_answer(size: int) -> None:
    text = json.dumps({"object": "list", "data": [{"embedding": "A" * size}], "model": "m", "usage": USAGE})
    assert seen(text).usage["prompt_tokens"] == 7
    assert seen(text).model == "m"


def test_a_streams_last_usage_counts() -> None:
    chunks = [
        {"model": "m", "usage": None},
        {"model": "m", "choices": [{"text": 'he said "usage": {"prompt_tokens": 99}'}]},
        {"model": "m", "choices": [], "usage": USAGE},
    ]
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    assert seen(text).usage["prompt_tokens"] == 7


@given(st.binary(max_size=300), st.integers(1, 20))
def test_bytes_that_mean_nothing_say_nothing(data: bytes, cut: int) -> None:
    witness = Witness()
    for at in range(0, len(data), cut):
        witness.see(data[at : at + cut])
    witness.seen()
    assert witness.size == len(data)


@pytest.mark.parametrize(("path", "method"), [("/v1/embeddings", "GET"), ("/v1/endpoints", "DELETE")])
def test_a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes(path: str, method: str) -> None:
    with pytest.raises(Refused) as caught:
        target(path, method=method)
    assert caught.value.problem.status == 405
    assert caught.value.problem.allow == ("POST" if path == "/v1/embeddings" else "GET, POST")
