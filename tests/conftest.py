"""Puts this folder on the import path, so that every test can use the helpers in it, and frees properties of clocks."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no bug: no example fails for being slow.
settings.register_profile("cheapfirst", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cheapfirst")
