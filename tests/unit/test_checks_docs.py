"""The page on checks names every check, option and code there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cheapfirst.checks.schema import _CODES
from cheapfirst.policy.checks import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/checks.md").read_text(encoding="utf-8")
SOURCES = ROOT / "src/cheapfirst/checks"
OWN = ("content", "covered", "custom", "grounded", "judge", "language", "percent", "refusal", "repetition", "unique")


def section(name: str) -> str:
    match = re.search(rf"^### `{name}`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert match is not None, f"docs/reference/checks.md has no heading for {name}"
    return match[1]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_has_a_section_that_names_every_option(name: str) -> None:
    text = section(name)
    for option in CHECKS[name].__struct_fields__:
        assert f"`{option}`" in text or (name, option) == ("python", "call")


def test_every_code_is_on_the_page() -> None:
    names = "|".join([*CHECKS, "schema", "calls", "parse"])
    for module in OWN:
        code = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
        for found in re.findall(rf'"((?:{names})\.[a-z_]+)"', code):
            assert f"`{found}`" in PAGE, f"{found} (checks/{module}.py) is not on the page"


@pytest.mark.parametrize("word", sorted(set(_CODES.values())))
def test_every_code_of_the_schema_is_on_the_page(word: str) -> None:
    assert f"`schema.{word}`" in PAGE
