"""A local server that speaks OpenRouter's wire: made-up or recorded answers, exact books, faults on demand.

Everything it answers is labelled simulated. It never calls anyone.
"""

from __future__ import annotations

from cheapfirst.simulator.answerer import Answerer, Made
from cheapfirst.simulator.corpus import Item
from cheapfirst.simulator.corpus import load as load_corpus
from cheapfirst.simulator.demo import demo_options
from cheapfirst.simulator.faults import FAULTS
from cheapfirst.simulator.models import DEFAULT_MODELS, Caching, Latency, Override, SimModel
from cheapfirst.simulator.options import Options, read_options
from cheapfirst.simulator.server import Simulator
from cheapfirst.simulator.thread import Handle, serve_in_thread

__all__ = [
    "DEFAULT_MODELS",
    "FAULTS",
    "Answerer",
    "Caching",
    "Handle",
    "Item",
    "Latency",
    "Made",
    "Options",
    "Override",
    "SimModel",
    "Simulator",
    "demo_options",
    "load_corpus",
    "read_options",
    "serve_in_thread",
]
