"""What careless callers hand over as checks and schema files is refused in a sentence, never with a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from cheapfirst.cli.options import read_schema_file
from cheapfirst.errors import RequestError
from cheapfirst.policy.checks import Custom, Length
from cheapfirst.router.request import read_checks, texts


@pytest.mark.parametrize("junk", [1, None, object()])
def test_what_is_no_check_is_a_wrong_request(junk: Any) -> None:
    with pytest.raises(RequestError, match="a check is a name"):
        read_checks([junk], {})


def test_check_structs_are_taken_as_they_are() -> None:
    given = (Length(max_words=3), Custom(name="tone"))
    assert read_checks(given, {})[0] == given


@pytest.mark.parametrize("content", [b"\xff", b"[" * 200_000, b"{"])
def test_a_schema_file_that_cannot_be_read_is_a_usage_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(content)
    with pytest.raises(click.UsageError, match=r"schema\.json"):
        read_schema_file(file)


def test_a_schema_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(b"\xef\xbb\xbf{}")
    assert read_schema_file(file) == {}


@pytest.mark.parametrize(
    "wrong", [{"task": 3}, {"task": None}, {"task": []}, {"tier": 3}, {"model": []}, {"source": b"x"}]
)
def test_an_option_that_is_no_text_is_a_wrong_request(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(wrong))} must be a text"):
        texts(**{"task": "chat", **wrong})
    texts(task="chat", tier=None)
