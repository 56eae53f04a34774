"""The OpenAI-compatible server: any client, in any language, by changing one URL."""

from __future__ import annotations

from cheapfirst.gateway.app import Gateway
from cheapfirst.gateway.app import Gateway as app

__all__ = ["Gateway", "app"]
