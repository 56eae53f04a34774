"""OpenAI's Responses protocol (`POST /v1/responses`), translated onto chat completions and back. Pure.

Nothing is stored: whoever wants to go on with an answer sends its output items along.
"""

from __future__ import annotations

from cheapfirst.gateway.faces.chat import KEEP_ALIVE, error
from cheapfirst.gateway.faces.responses.answering import whole
from cheapfirst.gateway.faces.responses.reading import read
from cheapfirst.gateway.faces.responses.streaming import Events

__all__ = ["KEEP_ALIVE", "Events", "error", "read", "whole"]
