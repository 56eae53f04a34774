"""The simulator as `cheapfirst demo` runs it: the default models, a little slow, with the faults of an ordinary day."""

from __future__ import annotations

import msgspec

from cheapfirst.simulator.models import DEFAULT_MODELS, Latency
from cheapfirst.simulator.options import Options

_ORDINARY_DAY = {"429_retry_after": 0.01, "502_provider": 0.01, "503_overloaded": 0.005, "cut_socket": 0.005}
_LATENCY = {
    "cheap": Latency(first_token=0.03, per_token=0.0002),
    "premium": Latency(first_token=0.09, per_token=0.0006),
}  # seconds


def demo_options(seed: int = 1) -> Options:
    """Options for a demonstration that takes seconds: a tenth of real latencies, faults on three requests of 100."""
    models = tuple(msgspec.structs.replace(model, latency=_LATENCY[model.skill]) for model in DEFAULT_MODELS)
    return Options(seed=seed, models=models, faults=_ORDINARY_DAY, retry_after=0.2)
