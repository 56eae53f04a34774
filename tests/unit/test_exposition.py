"""Prometheus's own parsers read the page as it was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from cheapfirst.gateway.exposition import Buckets, Family, page, wants_openmetrics

COUNTED = Family("shop_orders", "counter", 'Orders, "all" of\nthem, back\\slashed.', ("who", "what"))
SIZE = Family("shop_size_bytes", "gauge", "Size.")
WAIT = Family("shop_wait_seconds", "histogram", "Waits.", ("who",), (0.1, 1.0))
ABOUT = Family("shop_build", "info", "What runs.", ("version",))
READERS: dict[bool, Any] = {False: read_text, True: read_openmetrics}


def read(content: bytes, openmetrics: bool) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    families: Any = READERS[openmetrics](content.decode())
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_kind_is_read_back(openmetrics: bool) -> None:
    waits = Buckets(WAIT.bounds)
    for seconds in (0.05, 0.1, 0.5, 3.0):
        waits.add(seconds)
    families: Any = [
        (COUNTED, {("ann", "tea"): 3, ("bob", "milk"): 1.5}),
        (SIZE, {(): 2**40}),
        (WAIT, {("ann",): waits}),
        (ABOUT, {("1.0",): 1}),
    ]
    found = read(page(families, openmetrics=openmetrics), openmetrics)
    assert found == {
        ("shop_orders_total", frozenset({("who", "ann"), ("what", "tea")})): 3,
        ("shop_orders_total", frozenset({("who", "bob"), ("what", "milk")})): 1.5,
        ("shop_size_bytes", frozenset()): 2**40,
        ("shop_wait_seconds_bucket", frozenset({("who", "ann"), ("le", "0.1")})): 2,
        ("shop_wait_seconds_bucket", frozenset({("who", "ann"), ("le", "1.0")})): 3,
        ("shop_wait_seconds_bucket", frozenset({("who", "ann"), ("le", "+Inf")})): 4,
        ("shop_wait_seconds_count", frozenset({("who", "ann")})): 4,
        ("shop_wait_seconds_sum", frozenset({("who", "ann")})): pytest.approx(3.65),
        ("shop_build_info", frozenset({("version", "1.0")})): 1,
    }


@pytest.mark.parametrize("openmetrics", [False, True])
@given(text=st.text(max_size=30))
def test_any_label_comes_back_as_it_was(openmetrics: bool, text: str) -> None:
    content = page([(COUNTED, {(text, "x"): 1})], openmetrics=openmetrics)
    (_, labels), *rest = read(content, openmetrics)
    assert (dict(labels)["who"], rest) == (text, [])


def test_a_label_with_half_a_surrogate_is_still_a_page() -> None:
    assert read(page([(COUNTED, {("a\ud83d", "x"): 1})]), False)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_family_without_values_is_named_all_the_same(openmetrics: bool) -> None:
    content = page([(COUNTED, {})], openmetrics=openmetrics).decode()
    assert "# TYPE shop_orders" in content
    families: Any = READERS[openmetrics](content)
    assert [family.samples for family in families] == [[]]


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", True),
        ("text/plain;q=0.3, Application/OpenMetrics-Text; version=1.0.0; q=0.9", True),
        ("application/openmetrics-text; q=0", False),
        ("application/openmetrics-text;q=0.0", False),
        ("application/openmetrics-text;q=1.0", True),
    ],
)
def test_openmetrics_is_given_to_those_who_ask_for_it(accept: str, wants: bool) -> None:
    assert wants_openmetrics(accept) is wants
