"""The package as a user meets it: its public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cheapfirst

HEAVY = ("aiohttp", "asyncio", "click", "jsonschema_rs", "pydantic", "rich", "sqlite3")


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_public_name_is_there_and_no_other() -> None:
    for name in cheapfirst.__all__:
        assert getattr(cheapfirst, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Ruter'"):
        cheapfirst.Ruter  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not set(HEAVY) & loaded_by("import cheapfirst")


def test_importing_the_router_loads_no_client_and_no_validator() -> None:
    assert not {"aiohttp", "jsonschema_rs", "pydantic", "rich", "click"} & loaded_by("from cheapfirst import Router")


def test_help_loads_no_client() -> None:
    done = subprocess.run([sys.executable, "-m", "cheapfirst", "--help"], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert not {"aiohttp", "rich"} & loaded_by("import cheapfirst.cli")
