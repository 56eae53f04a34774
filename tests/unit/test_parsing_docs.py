"""The page on parsing names every step, alignment and code there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cheapfirst.policy.checks import ALIGNMENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/parsing.md").read_text(encoding="utf-8")
MODULES = ("align", "calls", "candidates", "numbers", "parse", "repair", "shapes", "strict", "strings")
SOURCE = "\n".join((ROOT / "src/cheapfirst/checks" / f"{name}.py").read_text(encoding="utf-8") for name in MODULES)
ROWS = set(re.findall(r"^\| `([a-z._]+)`", PAGE, re.M))


@pytest.mark.parametrize("word", sorted(set(re.findall(r'"((?:parse|calls|call|repaired)\.[a-z_]+)"', SOURCE))))
def test_a_code_or_step_of_the_code_has_its_row(word: str) -> None:
    assert word in ROWS


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_an_alignment_has_its_row(name: str) -> None:
    assert re.search(rf"^\| `{name}` \| `aligned\.{name}` \|", PAGE, re.M)


def test_the_page_names_nothing_that_is_gone() -> None:
    for word in ROWS - set(ALIGNMENTS):
        assert f'"{word}"' in SOURCE, word
