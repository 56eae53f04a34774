"""Puts this folder on the import path, so that every test can use the helpers in it, and frees properties of clocks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from served import Served, serve

# A busy machine is no bug: no example fails for being slow. CI draws the same examples each time, so that it answers
# for the change it runs on; everybody else's runs go on looking for new ones.
settings.register_profile(
    "cheapfirst", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cheapfirst")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for all tests of a client, whose ledger is held against the simulator's bill at their end."""
    with serve(tmp_path_factory.mktemp("gateway")) as made:
        yield made
        made.reconcile()
