"""The chat-completions wire of OpenRouter and any compatible server: send, stream, and read how it failed."""

from cheapfirst.upstream.call import Call
from cheapfirst.upstream.client import Upstream
from cheapfirst.upstream.faults import FAULTS, FaultKind

__all__ = ["FAULTS", "Call", "FaultKind", "Upstream"]
