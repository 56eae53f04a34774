"""The policy: one table that says which task goes to which tier, with which checks and limits."""

from __future__ import annotations

from cheapfirst.policy.load import find, load, loads
from cheapfirst.policy.table import Policy, Route, Tier

__all__ = ["Policy", "Route", "Tier", "find", "load", "loads"]
