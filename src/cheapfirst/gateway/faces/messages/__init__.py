"""Anthropic's Messages protocol (`POST /v1/messages`), translated onto chat completions and back. Pure."""

from __future__ import annotations

from cheapfirst.gateway.faces.messages.answering import whole
from cheapfirst.gateway.faces.messages.erring import error
from cheapfirst.gateway.faces.messages.reading import read
from cheapfirst.gateway.faces.messages.streaming import KEEP_ALIVE, Events

__all__ = ["KEEP_ALIVE", "Events", "error", "read", "whole"]
