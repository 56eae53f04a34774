"""The policy: one table that says which task goes to which tier, with which checks and limits."""

from __future__ import annotations

from cheapfirst.policy.diff import Change, diff
from cheapfirst.policy.load import find, load, loads
from cheapfirst.policy.show import Shown, show
from cheapfirst.policy.table import Policy, Route, Tier

__all__ = ["Change", "Policy", "Route", "Shown", "Tier", "diff", "find", "load", "loads", "show"]
