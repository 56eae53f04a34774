"""Puts this folder on the import path, so that every test can use the helpers in it, and frees properties of clocks."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A busy machine is no bug: no example fails for being slow. CI draws the same examples each time, so that it answers
# for the change it runs on; everybody else's runs go on looking for new ones.
settings.register_profile(
    "cheapfirst", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cheapfirst")
