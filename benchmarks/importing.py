"""What `import cheapfirst` costs over bare Python: `python -m benchmarks.importing [--json FILE]`.

Each statement is run in fresh interpreters, alternating with a bare one, and the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

STATEMENTS = {
    "bare Python": "pass",
    "import cheapfirst": "import cheapfirst",
    "from cheapfirst import Router": "from cheapfirst import Router",
    "Router()": "from cheapfirst import Router; Router(ledger=False)",
    "import aiohttp (a floor of the client)": "import aiohttp",
    "import openai (a peer)": "import openai",
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds per statement and round, interpreter start included."""
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, stderr=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    times = measure(arguments.rounds)
    bare = statistics.median(times["bare Python"])
    rows = []
    for name, taken in times.items():
        middle = statistics.median(taken)
        spread = statistics.quantiles(taken, n=4)
        rows.append({"statement": name, "median_s": middle, "over_bare_s": middle - bare, "ratio": middle / bare})
        print(
            f"{name:40s} {middle * 1000:7.1f} ms (quartiles {spread[0] * 1000:.1f}-{spread[2] * 1000:.1f}), "
            f"{(middle - bare) * 1000:+7.1f} ms over bare, {middle / bare:.2f}x"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
