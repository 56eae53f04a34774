"""The simulator's reference page names every fault, option, model field and field of the books as the code has them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cheapfirst.simulator import FAULTS, Options, SimModel
from cheapfirst.simulator.books import Bill, Entry, Sums

PAGE = (Path(__file__).parents[2] / "docs/reference/simulator.md").read_text()
ON = {"both": "both", "stream": "streams", "whole": "whole answers"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_its_row(name: str) -> None:
    assert f"| `{name}` | {ON[FAULTS[name].on]} | {FAULTS[name].what} |" in PAGE


@pytest.mark.parametrize("name", [*Options.__struct_fields__, *SimModel.__struct_fields__])
def test_every_option_and_model_field_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_field_of_the_books_is_named() -> None:
    entry = Entry(id="x", created=0, model="m", canonical="m", provider="p", streamed=False, bill=Bill())
    for name in [*entry.row(), *Sums().row()]:
        assert f"`{name}`" in PAGE, name


def test_the_example_options_can_be_read() -> None:
    import tomllib

    block = PAGE.split("```toml\n")[1].split("```")[0]
    options = msgspec.json.decode(msgspec.json.encode(tomllib.loads(block)), type=Options)
    assert options.models[0].canonical == "acme/small-20260101"
