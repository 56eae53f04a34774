"""Who may ask for what, how often, and for how much: virtual keys, rate limits, budgets."""

from __future__ import annotations

from cheapfirst.access.access import Access, Price
from cheapfirst.access.keys import Key
from cheapfirst.access.lease import Lease

__all__ = ["Access", "Key", "Lease", "Price"]
