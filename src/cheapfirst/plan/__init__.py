"""Decides, before anything is sent, which attempts a request may have and why. Pure: no I/O, no clock, no chance.

`make` turns request, policy and catalog into a `Plan`: a flat list of allowed attempts, cheapest tier first.
`follow` says which of them comes next after a signal (a fault, a cut-off, a rejected answer). Both can be
read and tested without a network; `cheapfirst explain` prints what `make` returns.
"""

from cheapfirst.plan.fit import estimate_tokens
from cheapfirst.plan.follow import Position, Signal, follow
from cheapfirst.plan.make import make

__all__ = ["Position", "Signal", "estimate_tokens", "follow", "make"]
