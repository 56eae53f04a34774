"""What models cost and what they can do: shipped data, the upstream's own listing, the user's word over both."""

from __future__ import annotations

from cheapfirst.catalog.estimate import Estimate, Part, estimate
from cheapfirst.catalog.listing import from_openrouter, save_synced, synced
from cheapfirst.catalog.load import Catalog, load
from cheapfirst.catalog.model import Model, ModelOverride, Price

__all__ = [
    "Catalog",
    "Estimate",
    "Model",
    "ModelOverride",
    "Part",
    "Price",
    "estimate",
    "from_openrouter",
    "load",
    "save_synced",
    "synced",
]
