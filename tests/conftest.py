"""Puts this folder on the import path, so that every test can use the helpers in it, and frees properties of clocks."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No test fails because a machine is slow. CI draws the same examples each time, so that it answers for the change
# that it runs on; everybody else's runs go on looking for new ones.
settings.register_profile("cheapfirst", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("cheapfirst")

# A busy machine is no bug: no example fails for being slow.
settings.register_profile("cheapfirst", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cheapfirst")
