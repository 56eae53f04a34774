"""The machine that the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def describe() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{one:.2f}" for one in os.getloadavg()),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("uvicorn", "uvloop", "httptools", "aiohttp", "msgspec")},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
