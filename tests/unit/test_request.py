"""`router.request`: what a caller's keywords become."""

from __future__ import annotations

import pytest

from cheapfirst.errors import RequestError
from cheapfirst.router.request import body, refuse_misspelt


@pytest.mark.parametrize(
    ("name", "near"), [("shcema", "schema"), ("feture", "feature"), ("tennant", "tenant"), ("max_tokns", "max_tokens")]
)
def test_a_misspelt_option_is_refused_with_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(RequestError, match=f'unknown option .{name}.; did you mean "{near}"'):
        body("hi", {name: 1})


@pytest.mark.parametrize("name", ["seed", "top_a", "top_p", "temperature", "vendor_field", "x", "user", "stop"])
def test_wire_fields_known_and_unknown_are_let_through(name: str) -> None:
    refuse_misspelt({name: 1})
    assert body("hi", {name: 1})[name] == 1
