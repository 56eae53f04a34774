"""Passes requests that the gateway does not serve itself on to the upstream, and records what they used.

Bytes go there and come back as they are. Nothing is checked, retried or escalated: the model is the client's choice.
"""

from cheapfirst.gateway.passthrough.paths import passes
from cheapfirst.gateway.passthrough.serving import serve

__all__ = ["passes", "serve"]
